// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/wizard/lodge-wizard-page.h"

typedef struct {
    Draft *draft; // the wizard's
    char *title;
    gboolean ready;
} LodgeWizardPagePrivate;

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE(LodgeWizardPage, lodge_wizard_page, ADW_TYPE_BIN)

enum { PROP_0, PROP_TITLE, PROP_READY, PROP_COUNT };

static GParamSpec *properties[PROP_COUNT];

static LodgeWizardPagePrivate *private(LodgeWizardPage *self)
{
    return lodge_wizard_page_get_instance_private(self);
}

void lodge_wizard_page_enter(LodgeWizardPage *self, Draft *draft)
{
    g_return_if_fail(LODGE_IS_WIZARD_PAGE(self));
    private(self)->draft = draft;
    LODGE_WIZARD_PAGE_GET_CLASS(self)->enter(self, draft);
}

Draft *lodge_wizard_page_get_draft(LodgeWizardPage *self)
{
    return private(self)->draft;
}

void lodge_wizard_page_set_ready(LodgeWizardPage *self, gboolean ready)
{
    if (private(self)->ready == ready)
        return;
    private(self)->ready = ready;
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_READY]);
}

gboolean lodge_wizard_page_get_ready(LodgeWizardPage *self)
{
    return private(self)->ready;
}

const char *lodge_wizard_page_get_title(LodgeWizardPage *self)
{
    return private(self)->title;
}

static void lodge_wizard_page_get_property(GObject *object, guint id, GValue *value,
                                           GParamSpec *pspec)
{
    LodgeWizardPage *self = LODGE_WIZARD_PAGE(object);
    switch (id) {
    case PROP_TITLE:
        g_value_set_string(value, private(self)->title);
        break;
    case PROP_READY:
        g_value_set_boolean(value, private(self)->ready);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void lodge_wizard_page_set_property(GObject *object, guint id, const GValue *value,
                                           GParamSpec *pspec)
{
    LodgeWizardPage *self = LODGE_WIZARD_PAGE(object);
    if (id == PROP_TITLE) {
        g_free(private(self)->title);
        private(self)->title = g_value_dup_string(value);
    } else {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void lodge_wizard_page_finalize(GObject *object)
{
    g_free(private(LODGE_WIZARD_PAGE(object))->title);
    G_OBJECT_CLASS(lodge_wizard_page_parent_class)->finalize(object);
}

static void lodge_wizard_page_class_init(LodgeWizardPageClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    object_class->get_property = lodge_wizard_page_get_property;
    object_class->set_property = lodge_wizard_page_set_property;
    object_class->finalize = lodge_wizard_page_finalize;
    properties[PROP_TITLE] = g_param_spec_string("title", NULL, NULL, "",
                                                 G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
    properties[PROP_READY] = g_param_spec_boolean("ready", NULL, NULL, FALSE,
                                                  G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object_class, PROP_COUNT, properties);
}

static void lodge_wizard_page_init(LodgeWizardPage *self)
{
}

// SPDX-License-Identifier: GPL-2.0-or-later
// One page of the wizard: reads from and writes to the draft, and says whether it can be left.
#pragma once

#include "app/wizard/draft.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_WIZARD_PAGE (lodge_wizard_page_get_type())
G_DECLARE_DERIVABLE_TYPE(LodgeWizardPage, lodge_wizard_page, LODGE, WIZARD_PAGE, AdwBin)

struct _LodgeWizardPageClass {
    AdwBinClass parent_class;
    // The page is about to be seen: show what the draft has.
    void (*enter)(LodgeWizardPage *page, Draft *draft);
};

// Properties: "title" (string), "ready" (boolean): Next may be pressed.
void lodge_wizard_page_enter(LodgeWizardPage *self, Draft *draft);
// The draft since the page was entered, or NULL.
Draft *lodge_wizard_page_get_draft(LodgeWizardPage *self);
void lodge_wizard_page_set_ready(LodgeWizardPage *self, gboolean ready);
gboolean lodge_wizard_page_get_ready(LodgeWizardPage *self);
const char *lodge_wizard_page_get_title(LodgeWizardPage *self);

G_END_DECLS

// SPDX-License-Identifier: GPL-2.0-or-later
// The wizard's third page: memory, processors, disk.
#pragma once

#include "app/wizard/lodge-wizard-page.h"

G_BEGIN_DECLS

#define LODGE_TYPE_WIZARD_RESOURCES (lodge_wizard_resources_get_type())
G_DECLARE_FINAL_TYPE(LodgeWizardResources, lodge_wizard_resources, LODGE, WIZARD_RESOURCES,
                     LodgeWizardPage)

G_END_DECLS

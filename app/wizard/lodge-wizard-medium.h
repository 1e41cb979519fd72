// SPDX-License-Identifier: GPL-2.0-or-later
// The wizard's first page: what the machine starts from.
#pragma once

#include "app/wizard/lodge-wizard-page.h"

G_BEGIN_DECLS

#define LODGE_TYPE_WIZARD_MEDIUM (lodge_wizard_medium_get_type())
G_DECLARE_FINAL_TYPE(LodgeWizardMedium, lodge_wizard_medium, LODGE, WIZARD_MEDIUM, LodgeWizardPage)

G_END_DECLS

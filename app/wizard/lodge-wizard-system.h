// SPDX-License-Identifier: GPL-2.0-or-later
// The wizard's second page: which system it is, and the machine's name.
#pragma once

#include "app/wizard/lodge-wizard-page.h"

G_BEGIN_DECLS

#define LODGE_TYPE_WIZARD_SYSTEM (lodge_wizard_system_get_type())
G_DECLARE_FINAL_TYPE(LodgeWizardSystem, lodge_wizard_system, LODGE, WIZARD_SYSTEM, LodgeWizardPage)

G_END_DECLS

// SPDX-License-Identifier: GPL-2.0-or-later
// The wizard's last page: everything at a glance.
#pragma once

#include "app/wizard/lodge-wizard-page.h"

G_BEGIN_DECLS

#define LODGE_TYPE_WIZARD_SUMMARY (lodge_wizard_summary_get_type())
G_DECLARE_FINAL_TYPE(LodgeWizardSummary, lodge_wizard_summary, LODGE, WIZARD_SUMMARY,
                     LodgeWizardPage)

// Why the machine could not be made; taken over, NULL clears.
void lodge_wizard_summary_take_problem(LodgeWizardSummary *self, char *text);

G_END_DECLS

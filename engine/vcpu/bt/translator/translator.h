// SPDX-License-Identifier: GPL-2.0-or-later
// The translator as the rest of engine/vcpu/bt sees it. It takes over from the interpreter between
// blocks: code that runs often is translated into units of host code (unit.h), everything else is
// left to the interpreter, whose state, decoder, blocks, page generations and faults it shares.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#include <glib.h>

// Sets cpu->translator. Needs memfd_create and an executable mapping; nothing later does.
bool bt_translator_create(BtCpu *cpu, GError **error);
void bt_translator_destroy(BtCpu *cpu); // NULL translator is allowed

// Adds what only the translator counts. Any thread, approximate while the CPU runs.
void bt_translator_stats(const BtCpu *cpu, VcpuStats *stats);

// Once per call of bt_run, on the thread that runs the CPU.
void bt_translator_begin(BtCpu *cpu);

// Runs the unit at cpu->rip, if there is one or there should be one, until it leaves: true, with
// cpu->rip right. False: the interpreter runs the block. May raise, and faults leave by longjmp.
bool bt_translator_run(BtCpu *cpu);

// How often a new block is entered before the run loop has a look at it.
uint16_t bt_translator_budget(const BtCpu *cpu);

// The run loop served BT_REQUEST_CODE: code was written.
void bt_translator_code_written(BtCpu *cpu);

// All blocks and compiled forms go.
void bt_translator_forget(BtCpu *cpu);

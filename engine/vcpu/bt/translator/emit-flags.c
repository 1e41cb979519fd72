// SPDX-License-Identifier: GPL-2.0-or-later
// Where the guest's status flags are while its code runs: in the host's flags (BT_FLAGS_NATIVE), or
// in cpu->unit_flags (BT_FLAGS_SAVED) since a memory check that changes the host's while they were
// still wanted. At each place of a unit it is one or the other, known when the code is emitted.
// Saved flags stay saved over as many checks as follow, until an instruction reads flags or keeps
// some of them, or sets all that are wanted. Indirect branches leave with saved flags (unit.h:
// entries), and so do links where they are saved already. A unit that saves them before it does
// anything else with them begins with saved flags.
//
// Which flags are wanted is form.c's. Where none are, a check just changes them; what an exception
// or interrupt there shows of them is then not what the architecture says, unless the translator is
// asked for exact flags.
#include "engine/vcpu/bt/translator/draft.h"

void bt_emit_flags_begin(BtDraft *d)
{
    if (!bt_draft_insn(d)->flags_live || d->flags == BT_FLAGS_SAVED || bt_group_quiet(d))
        return;
    bt_emit_flags_save(d);
}

void bt_emit_flags_save(BtDraft *d)
{
    HostCode *c = &d->code;
    host_move(c, HOST_T1, HOST_RAX);
    host_bytes(c, "\x9f\x0f\x90\xc0", 4); // lahf; seto al
    host_store(c, 4, HOST_CPU(unit_flags), HOST_RAX);
    host_move(c, HOST_RAX, HOST_T1);
    d->flags = BT_FLAGS_SAVED;
}

void bt_emit_flags_native(BtDraft *d, unsigned scratch)
{
    if (d->flags == BT_FLAGS_NATIVE)
        return;
    bt_emit_flags_restore(&d->code, scratch);
    d->flags = BT_FLAGS_NATIVE;
}

void bt_emit_flags_restore(HostCode *c, unsigned scratch)
{
    host_move(c, scratch, HOST_RAX);
    host_load(c, 4, HOST_RAX, HOST_CPU(unit_flags));
    host_bytes(c, "\x04\x7f\x9e", 3); // add al, 7fh; sahf
    host_move(c, HOST_RAX, scratch);
}

bool bt_flags_wanted_native(const BtGuestInsn *g)
{
    return g->reads_flags || (g->changes_flags && (g->live_after & ~g->writes_flags));
}

void bt_emit_flags_end(BtDraft *d, unsigned scratch)
{
    if (bt_flags_wanted_native(bt_draft_insn(d)))
        bt_emit_flags_native(d, scratch);
}

// SPDX-License-Identifier: GPL-2.0-or-later
// Which memory operands may take handlers of the flat kind, for all families.
#include "engine/vcpu/bt/bt-select.h"
#include "engine/vcpu/bt/bt-block.h"

static bool flat(const BtDecoded *d, unsigned segment)
{
    return d->cpu->mode_key >> (BT_KEY_FLAT_SHIFT + segment) & 1;
}

bool bt_select_is_flat(const BtDecoded *d, const BtInsn *out)
{
    unsigned code_bits = d->cpu->code_bits == 64 ? 64 : 32;
    if (!(out->flags & BT_INSN_HAS_MEMORY) || out->address_bits != code_bits)
        return false;
    if (out->segment > VCPU_DS)
        return false;
    // A code segment cannot be written and may be unreadable.
    if (out->segment == VCPU_CS && code_bits != 64)
        return false;
    return flat(d, out->segment);
}

BtMemoryKind bt_select_memory_kind(const BtDecoded *d, const BtInsn *out)
{
    if (!bt_select_is_flat(d, out))
        return BT_KIND_ANY;
    return out->index == BT_REG_ZERO ? BT_KIND_BASE : BT_KIND_FLAT;
}

bool bt_select_stack_is_flat(const BtDecoded *d)
{
    return flat(d, VCPU_SS) && d->cpu->stack_bits != 16;
}

bool bt_select_code_is_flat(const BtDecoded *d)
{
    return flat(d, VCPU_CS);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/vcpu/bt/bt-fuse.h"
void bt_fuse(BtInsn *insn, unsigned count)
{
}

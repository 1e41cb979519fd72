// SPDX-License-Identifier: GPL-2.0-or-later
// One CPU's blocks: what bt-cache.c and bt-block.c share.
#pragma once

#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-decode.h"

typedef struct {
    uint8_t *arena;
    uint64_t used;
    BtBlock **bucket;
    BtBlock none; // what entries of the jump cache point to that hold no block
    BtDecoders decoders;
} BtCache;

// The block for cpu->rip, formed where there is none. alone: of one instruction. May raise.
BtBlock *bt_cache_find(BtCpu *cpu, bool alone);

// The block for cpu->rip is known without a look-up, and the run loop need not see it.
bool bt_cache_has_cold(const BtCpu *cpu);

// Memory for a block of `count` instructions. May give up all blocks that there are.
BtBlock *bt_cache_allocate(BtCpu *cpu, unsigned count);

// bt-block.c: decodes from cpu->rip on, whose physical address is `physical`. host: the page's
// first byte, or NULL for MMIO. May raise.
BtBlock *bt_block_form(BtCpu *cpu, const BtDecoders *decoders, uint64_t physical,
                       const uint8_t *host, uint32_t key);

// SPDX-License-Identifier: GPL-2.0-or-later
// See bt-mirror.h. A mapping costs about a microsecond, and memory of the kernel's for each piece
// that is not the continuation of its neighbour. So there is an allowance of pages, which grows
// with the instructions that ran, and a limit for all pages of a CPU; whoever goes through much
// memory once does not profit.
#include "engine/vcpu/bt/bt-mirror.h"

#include "engine/vcpu/bt/bt-range.h"
#include "engine/vcpu/bt/bt-vm.h"

#include <glib.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum {
    PIECE_BITS = 22,
    PIECE_PAGES = 1 << (PIECE_BITS - 12),
    PIECES = 16,
    MOST_PAGES = 4096, // of a CPU ...
    MOST_OF_ALL = 16384, // ... and of all: a process may have 65530 mappings
    ALLOWANCE = 512,                 // most pages at once
    INSTRUCTIONS_PER_PAGE = 1 << 18, // that earn one
};
#define PIECE_SIZE (UINT64_C(1) << PIECE_BITS)
#define PAGE UINT64_C(0x1000)

typedef struct {
    uint64_t linear, space; // of its first page; the address space (CR3)
    uint8_t *window;        // NULL: not in use
    unsigned pages;         // that are mapped
    uint64_t last_use;
    uintptr_t frame[PIECE_PAGES]; // host address of what is mapped, 0: nothing
} Piece;

struct BtMirrors {
    Piece piece[PIECES];
    unsigned pages;
    uint64_t clock;
    uint64_t paid;      // instructions that the allowance takes into account
    unsigned allowance;
    bool shared;        // this memory can be mapped once more
    bool off;           // a mapping failed
};

static uint64_t space_of(const BtCpu *cpu)
{
    return cpu->cr3 & ~UINT64_C(0xfff);
}

static Piece *find(BtMirrors *m, const BtCpu *cpu, uint64_t page)
{
    uint64_t linear = page & ~(PIECE_SIZE - 1);
    for (unsigned i = 0; m && i < PIECES; i++) {
        Piece *piece = &m->piece[i];
        if (piece->window && piece->linear == linear && piece->space == space_of(cpu))
            return piece;
    }
    return NULL;
}

bool bt_mirror_known(const BtCpu *cpu, uint64_t page)
{
    return find(cpu->mmu->mirrors, cpu, page);
}

// Unmaps the pages, and keeps the address space. Slots are of the present address space only, so
// no run goes through another one's pieces.
static void clear(BtCpu *cpu, Piece *piece)
{
    BtMirrors *m = cpu->mmu->mirrors;
    if (piece->space == space_of(cpu))
        bt_range_drop_mirrored(cpu, piece->linear, piece->linear + PIECE_SIZE - 1);
    cpu->mmu->mirror_changes++;
    memset(piece->frame, 0, sizeof piece->frame);
    m->pages -= piece->pages;
    piece->pages = 0;
    if (mmap(piece->window, PIECE_SIZE, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
        m->off = true;
        piece->window = NULL; // what is mapped there stays and is not used again
    }
}

// Makes room for a page.
static bool make_room(BtCpu *cpu, const Piece *but)
{
    BtMirrors *m = cpu->mmu->mirrors;
    unsigned most = MIN(MOST_PAGES, MOST_OF_ALL / MAX(cpu->vm->cpu_count, 1));
    if (m->pages < most)
        return true;
    Piece *oldest = NULL;
    for (unsigned i = 0; i < PIECES; i++) {
        Piece *piece = &m->piece[i];
        if (piece != but && piece->pages && (!oldest || piece->last_use < oldest->last_use))
            oldest = piece;
    }
    if (!oldest)
        return false;
    clear(cpu, oldest);
    return m->pages < most && !m->off;
}

static Piece *take(BtCpu *cpu, uint64_t page)
{
    BtMirrors *m = cpu->mmu->mirrors;
    Piece *best = NULL;
    for (unsigned i = 0; i < PIECES; i++) {
        Piece *piece = &m->piece[i];
        if (!best || !piece->window || (best->window && piece->last_use < best->last_use))
            best = piece;
    }
    if (best->window)
        clear(cpu, best);
    if (!best->window) {
        void *window = mmap(NULL, PIECE_SIZE, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (window == MAP_FAILED)
            return NULL;
        m->pages -= best->pages;
        *best = (Piece){ .window = window };
    }
    best->linear = page & ~(PIECE_SIZE - 1);
    best->space = space_of(cpu);
    return best;
}

static bool earn(const BtCpu *cpu, BtMirrors *m)
{
    uint64_t pages = (cpu->instructions - m->paid) / INSTRUCTIONS_PER_PAGE;
    if (cpu->instructions < m->paid || pages > ALLOWANCE) { // the counter was set
        m->paid = cpu->instructions;
        pages = ALLOWANCE;
    } else {
        m->paid += pages * INSTRUCTIONS_PER_PAGE;
    }
    m->allowance = MIN(m->allowance + (unsigned)pages, (unsigned)ALLOWANCE);
    return m->allowance > 0;
}

bool bt_mirror_is_allowed(const BtCpu *cpu)
{
    BtMirrors *m = cpu->mmu->mirrors;
    return !m || (!m->off && earn(cpu, m));
}

// Whether the memory at `host` can be mapped once more at all.
static bool is_shared(BtMirrors *m, uintptr_t host)
{
    if (m->shared)
        return true;
    void *p = mremap((void *)host, 0, PAGE, MREMAP_MAYMOVE);
    m->shared = p != MAP_FAILED;
    m->off = !m->shared;
    if (m->shared)
        munmap(p, PAGE);
    return m->shared;
}

// Maps the frame at `host` over one page of a window.
static bool map(BtMirrors *m, Piece *piece, unsigned page, uintptr_t host)
{
    uint8_t *at = piece->window + page * PAGE;
    if (mremap((void *)host, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED) {
        madvise(at, PAGE, MADV_POPULATE_READ); // else the first access does it
        return true;
    }
    // It may have unmapped what was there; then another thread may be there by now.
    m->off = true;
    if (mmap(at, PAGE, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) ==
        MAP_FAILED)
        piece->window = NULL;
    return false;
}

bool bt_mirror_place(BtCpu *cpu, uint64_t page, uintptr_t host, bool may_map,
                     uintptr_t *ret_addend)
{
    BtMirrors *m = cpu->mmu->mirrors;
    if (!m && may_map) {
        m = cpu->mmu->mirrors = g_new0(BtMirrors, 1);
        m->allowance = ALLOWANCE;
    }
    Piece *piece = find(m, cpu, page);
    unsigned at = (unsigned)(page >> 12) & (PIECE_PAGES - 1);
    if (!piece || piece->frame[at] != host) {
        if (!may_map || m->off || !earn(cpu, m) || !is_shared(m, host) ||
            !make_room(cpu, piece) || (!piece && !(piece = take(cpu, page))))
            return false;
        m->allowance--;
        if (piece->frame[at]) { // who could use the old frame must not come to the new one
            bt_range_drop_mirrored(cpu, page, page + PAGE - 1);
            cpu->mmu->mirror_changes++;
            piece->frame[at] = 0;
            m->pages--;
            piece->pages--;
        }
        if (!map(m, piece, at, host))
            return false;
        piece->frame[at] = host;
        m->pages++;
        piece->pages++;
    }
    piece->last_use = ++m->clock;
    *ret_addend = (uintptr_t)piece->window - piece->linear;
    return true;
}

void bt_mirror_drop_all(BtCpu *cpu)
{
    BtMirrors *m = cpu->mmu->mirrors;
    if (!m)
        return;
    m->off = m->shared = false;
    for (unsigned i = 0; i < PIECES; i++) {
        if (m->piece[i].window && m->piece[i].pages)
            clear(cpu, &m->piece[i]);
    }
}

void bt_mirror_destroy(BtCpu *cpu)
{
    BtMirrors *m = cpu->mmu->mirrors;
    for (unsigned i = 0; m && i < PIECES; i++) {
        if (m->piece[i].window)
            munmap(m->piece[i].window, PIECE_SIZE);
    }
    g_free(m);
    cpu->mmu->mirrors = NULL;
}

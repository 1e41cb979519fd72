// SPDX-License-Identifier: GPL-2.0-or-later
// Chains of clusters in FAT and exFAT. Where what follows a cluster makes no sense, the copy of the
// table is asked. A chain that goes in a circle is found (Brent: a mark that is set anew after 1,
// 2, 4... steps is met again), and none is longer than its caller allows.
#include "snapshots/filesystems/fat-private.h"

#include "engine/base/bytes.h"

static bool is_cluster(const Fat *fs, uint32_t number)
{
    return number >= 2 && number - 2 < fs->clusters;
}

// What the table says of a cluster; UINT32_MAX: it is the last.
static int read_link(Fat *fs, uint64_t table, uint32_t cluster, uint32_t *ret_link)
{
    uint8_t bytes[4];
    uint64_t at = table + (uint64_t)cluster * fs->bits / 8;
    int result = disk_reader_read(fs->disk, at, bytes, fs->bits == 32 ? 4 : 2);
    if (result < 0)
        return result;
    uint32_t link, last;
    if (fs->bits == 12) {
        link = le16_read(bytes) >> (cluster & 1 ? 4 : 0) & 0xfff;
        last = 0xff8;
    } else if (fs->bits == 16) {
        link = le16_read(bytes);
        last = 0xfff8;
    } else {
        link = le32_read(bytes) & (fs->is_exfat ? UINT32_MAX : 0xfffffff);
        last = fs->is_exfat ? UINT32_MAX : 0xffffff8;
    }
    *ret_link = link >= last ? UINT32_MAX : link;
    return 0;
}

// *cluster becomes the next one, or UINT32_MAX.
static bool follow(Fat *fs, uint32_t *cluster, GError **error)
{
    for (unsigned i = 0; i < 2; i++) {
        uint32_t link;
        if (read_link(fs, fs->tables[i], *cluster, &link) == 0 &&
            (link == UINT32_MAX || is_cluster(fs, link))) {
            *cluster = link;
            return true;
        }
    }
    return filesystem_damaged(error, "its chain of clusters breaks off behind cluster %u",
                              *cluster);
}

// FAT_GO_ON, FAT_ENOUGH or FAT_FAILED of all entries in a piece of the disk.
static FatVisited visit_piece(Fat *fs, uint64_t at, uint32_t size, FatVisit visit, void *opaque,
                              GError **error)
{
    uint8_t piece[4096];
    for (uint32_t done = 0; done < size;) {
        uint32_t count = MIN(size - done, (uint32_t)sizeof piece);
        int result = disk_reader_read(fs->disk, at + done, piece, count);
        if (result < 0) {
            filesystem_damaged(error, "a cluster cannot be read: %s", g_strerror(-result));
            return FAT_FAILED;
        }
        for (uint32_t i = 0; i + FAT_ENTRY <= count; i += FAT_ENTRY) {
            FatVisited visited = visit(piece + i, opaque, error);
            if (visited != FAT_GO_ON)
                return visited;
        }
        done += count;
    }
    return FAT_GO_ON;
}

bool fat_walk(Fat *fs, uint32_t first, uint32_t together, uint32_t limit, FatVisit visit,
              void *opaque, GError **error)
{
    uint32_t cluster = first, mark = first, steps = 0, next_mark = 1;
    if (!is_cluster(fs, first))
        return filesystem_damaged(error, "it begins in cluster %u, which is not there", first);
    for (uint64_t done = 0; done < limit; done += fs->cluster_size) {
        uint64_t at = fs->data + (uint64_t)(cluster - 2) * fs->cluster_size;
        FatVisited visited = visit_piece(fs, at, fs->cluster_size, visit, opaque, error);
        if (visited != FAT_GO_ON)
            return visited == FAT_ENOUGH;
        if (together) {
            if (++steps == together)
                return true;
            if (!is_cluster(fs, ++cluster))
                return filesystem_damaged(error, "it goes on behind the last cluster");
            continue;
        }
        if (!follow(fs, &cluster, error))
            return false;
        if (cluster == UINT32_MAX)
            return true;
        if (cluster == mark)
            return filesystem_damaged(error, "its chain of clusters goes in a circle");
        if (++steps == next_mark) {
            mark = cluster;
            next_mark *= 2;
            steps = 0;
        }
    }
    return filesystem_damaged(error, "it is longer than a folder may be");
}

bool fat_walk_root(Fat *fs, FatVisit visit, void *opaque, GError **error)
{
    return visit_piece(fs, fs->root_start, fs->root_size, visit, opaque, error) != FAT_FAILED;
}

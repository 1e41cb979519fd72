#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images made to do harm, crafted here: each is refused (or read as far as it goes, where only data
is damaged) with one clear line, in little time and memory, and no other file is ever read.
hostile-images.py LODGECTL"""
import os
import resource
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

MEMORY = 256 << 20  # bytes, the most that an image may make us take
SECONDS = 30        # 1 s on a computer that does nothing else
CLUSTER = 65536
SECRET = "root:"    # what /etc/passwd begins with on every system


def qcow2(size=1 << 30, version=3, cluster_bits=16, l1=None, l1_size=2, l1_offset=3 * CLUSTER,
          reftable=CLUSTER, reftable_clusters=1, snapshots=0, snapshots_offset=0, backing=b"",
          incompatible=0, order=4, length=104, crypt=0, refs=True, extensions=b""):
    """Header, refcount table, refcount block, L1 table: a cluster each."""
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 0, 0, cluster_bits, size, crypt,
                         l1_size, l1_offset, reftable, reftable_clusters, snapshots,
                         snapshots_offset)
    header += struct.pack(">QQQII", incompatible, 0, 0, order, length)
    header = bytearray((header.ljust(length, b"\0") + extensions + bytes(8)).ljust(CLUSTER, b"\0"))
    if backing:
        header[8:20] = struct.pack(">QI", 4096, len(backing))
        header[4096:4096 + len(backing)] = backing
    table = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
    block = (b"\0\1" * 4 if refs else b"").ljust(CLUSTER, b"\0")
    return bytes(header) + table + block + (l1 or bytes(8)).ljust(CLUSTER, b"\0")


def named(name, kind=0xe2792aca, text=None):
    text = text or name
    return struct.pack(">II", kind, len(text)) + text.ljust(-(-len(text) // 8) * 8, b"\0")


RAW = named(b"raw")
QCOW2 = named(b"qcow2")


def vmdk_text(*extents, parent="ffffffff", hint=""):
    lines = ["# Disk DescriptorFile", "version=1", "CID=12345678", "parentCID=" + parent,
             'createType="custom"', *extents]
    if hint:
        lines.append(f'parentFileNameHint="{hint}"')
    return "\n".join(lines).encode()


def vmdk_sparse(capacity=2048, grain=128, gtes=512, directory=21, descriptor=(0, 0), flags=3,
                version=1, entries=b"", redundant=0):
    header = struct.pack("<4sIIQQQQIQQQB", b"KDMV", version, flags, capacity, grain, *descriptor,
                         gtes, redundant, directory, 128, 0) + b"\n \r\n" + struct.pack("<H", 0)
    return header.ljust(21 * 512, b"\0") + entries.ljust(65536, b"\0")


def vdi(size=1 << 30, block=1 << 20, blocks=1024, allocated=0, map_at=512, data=1 << 20, kind=1,
        extra=0, entries=b""):
    header = bytearray(512)
    struct.pack_into("<IIII", header, 0x40, 0xbeda107f, 0x00010001, 0x190, kind)
    struct.pack_into("<II", header, 0x154, map_at, data)
    struct.pack_into("<IQIIII", header, 0x16c, 0, size, block, extra, blocks, allocated)
    return bytes(header) + entries.ljust(1 << 16, b"\xff")


def checksum(data, at):
    data = bytearray(data)
    data[at:at + 4] = bytes(4)
    data[at:at + 4] = struct.pack(">I", ~sum(data) & 0xffffffff)
    return bytes(data)


def vhd(size=1 << 30, kind=3, table=1536, entries=512, block=2 << 20, parent="", bat=b""):
    footer = struct.pack(">8sIIQI4sI4sQQII", b"conectix", 2, 0x10000, 512, 0, b"win ", 0x10000,
                         b"Wi2k", size, size, 0, kind).ljust(512, b"\0")
    footer = checksum(footer, 64)
    header = struct.pack(">8sQQIII", b"cxsparse", 2**64 - 1, table, 0x10000, entries,
                         block).ljust(64, b"\0") + parent.encode("utf-16-be")
    header = checksum(header.ljust(1024, b"\0"), 36)
    return footer + header + bat.ljust(4096, b"\xff") + footer


def crc32c(data):
    table = [0] * 256
    for i in range(256):
        value = i
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table[i] = value
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def summed(data):
    data = bytearray(data)
    data[4:8] = bytes(4)
    data[4:8] = struct.pack("<I", crc32c(data))
    return bytes(data)


def vhdx(log=(0, 0), log_guid=bytes(16), log_bytes=b"", regions=None, bat_size=1 << 20, items=None,
         size=1 << 30, block=1 << 20, sector=512, total=5 << 20):
    image = bytearray(total)
    image[0:8] = b"vhdxfile"
    head = struct.pack("<4sIQ16s16s16sHHIQ", b"head", 0, 1, b"f" * 16, b"d" * 16, log_guid, 0, 1,
                       log[1], log[0])
    image[65536:65536 + 4096] = summed(head.ljust(4096, b"\0"))
    bat = bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")
    metadata = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
    regions = regions if regions is not None else [(bat, 3 << 20, bat_size, 1),
                                                   (metadata, 2 << 20, 1 << 20, 1)]
    table = struct.pack("<4sIII", b"regi", 0, len(regions), 0)
    table += b"".join(struct.pack("<16sQII", *region) for region in regions)
    image[192 << 10:256 << 10] = summed(table.ljust(65536, b"\0"))
    items = items if items is not None else [
        ("3767a1ca36fa434db3b633f0aa44e76b", struct.pack("<II", block, 0)),
        ("2442a52f1bcd7648b2115dbed83bf4b8", struct.pack("<Q", size)),
        ("1dbf41816fa90947ba47f233a8faab5f", struct.pack("<I", sector))]
    rows, values = b"", b""
    for guid, value in items:
        rows += struct.pack("<16sIIII", bytes.fromhex(guid), 65536 + len(values), len(value), 4, 0)
        values += value
    image[2 << 20:(2 << 20) + 65536] = (struct.pack("<8sHH20s", b"metadata", 0, len(items), b"") +
                                        rows).ljust(65536, b"\0")
    image[(2 << 20) + 65536:(2 << 20) + 65536 + len(values)] = values
    if log_bytes:
        image[log[0]:log[0] + len(log_bytes)] = log_bytes
    return bytes(image)


def log_entry(tail=0, sequence=1, count=1, length=4096, descriptor=None, guid=b"L" * 16):
    descriptor = descriptor or struct.pack("<4sIQQQ", b"zero", 0, 4096, 0, sequence)
    entry = struct.pack("<4sIIIQII16sQQ", b"loge", 0, length, tail, sequence, count, 0, guid, 0, 0)
    return summed((entry + descriptor).ljust(length, b"\0"))


EVIL_LOG = dict(log=(1 << 20, 1 << 20), log_guid=b"L" * 16)
HUGE = 2**63

# name, bytes, words that the refusal has
REFUSED = [
    ("size.qcow2", qcow2(size=HUGE), ["bytes"]),
    ("size0.qcow2", qcow2(size=0), ["0 bytes"]),
    ("version.qcow2", qcow2(version=4), ["version 4"]),
    ("clusters.qcow2", qcow2(cluster_bits=63), ["clusters"]),
    ("small.qcow2", qcow2(cluster_bits=3), ["clusters"]),
    ("l1-beyond.qcow2", qcow2(l1_offset=1 << 40), ["L1 table", "beyond"]),
    ("l1-huge.qcow2", qcow2(l1_size=0xffffffff), ["L1 table", "32 MiB"]),
    ("l1-short.qcow2", qcow2(l1_size=1, size=1 << 50), ["L1 table", "too small"]),
    ("l1-odd.qcow2", qcow2(l1_offset=3 * CLUSTER + 8), ["L1 table"]),
    ("l1-wrap.qcow2", qcow2(l1_offset=2**64 - CLUSTER), ["L1 table"]),
    ("snapshots.qcow2", qcow2(snapshots=0x7fffffff), ["snapshots"]),
    ("snapshots-beyond.qcow2", qcow2(snapshots=9, snapshots_offset=1 << 50), ["snapshot table"]),
    ("order.qcow2", qcow2(order=40), ["64 bits"]),
    ("length.qcow2", qcow2(length=104 + 4), ["header"]),
    ("extension.qcow2", qcow2(extensions=struct.pack(">II", 1, 0xffffffff)), ["extension"]),
    ("feature.qcow2", qcow2(incompatible=1 << 37), ["bit 37", "unknown"]),
    ("named.qcow2", qcow2(incompatible=1 << 37, extensions=struct.pack(
        ">IIBB46s", 0x6803f857, 48, 0, 37, b"time travel")), ["time travel"]),
    ("luks.qcow2", qcow2(crypt=2), ["LUKS"]),
    ("aes.qcow2", qcow2(crypt=1), ["AES"]),
    ("compression.qcow2", qcow2(incompatible=8, length=112), ["compressed by method"]),
    ("no-data-file.qcow2", qcow2(incompatible=4), ["external data file"]),
    ("data-file.qcow2", qcow2(incompatible=4, extensions=named(b"/etc/passwd", 0x44415441)),
     ["/etc/passwd", "own folder"]),
    ("passwd.qcow2", qcow2(backing=b"/etc/passwd", extensions=RAW), ["/etc/passwd", "own folder"]),
    ("up.qcow2", qcow2(backing=b"../../../etc/passwd", extensions=RAW), ["own folder"]),
    ("url.qcow2", qcow2(backing=b"nbd://localhost/x", extensions=RAW), ["own folder"]),
    ("json.qcow2", qcow2(backing=b'json:{"driver":"file","filename":"/etc/passwd"}'),
     ["own folder"]),
    ("link.qcow2", qcow2(backing=b"passwd-link", extensions=RAW), ["leads out"]),
    ("proc.qcow2", qcow2(backing=b"proc-link", extensions=RAW), ["leads out"]),
    ("device.qcow2", qcow2(backing=b"pipe", extensions=RAW), ["neither a file"]),
    ("self.qcow2", qcow2(backing=b"self.qcow2", extensions=QCOW2), ["loop"]),
    ("loop-a.qcow2", qcow2(backing=b"loop-b.qcow2", extensions=QCOW2), ["loop"]),
    ("loop-b.qcow2", qcow2(backing=b"loop-a.qcow2", extensions=QCOW2), ["loop"]),
    ("chain-99.qcow2", None, ["64"]),
    ("unsaid.qcow2", qcow2(backing=b"looks-like.img"), ["does not say which format"]),
    ("none.qcow2", qcow2(backing=b"missing.raw", extensions=RAW), ["missing.raw"]),
    ("cut.qcow2", qcow2()[:60], ["cut off"]),
    ("flat.vmdk", vmdk_text('RW 2048 FLAT "/etc/passwd" 0'), ["/etc/passwd", "own folder"]),
    ("flat-up.vmdk", vmdk_text('RW 8 FLAT "../../etc/passwd" 0'), ["own folder"]),
    ("flat-link.vmdk", vmdk_text('RW 1 FLAT "passwd-link" 0'), ["leads out"]),
    ("self.vmdk", vmdk_text('RW 1 FLAT "self.vmdk" 0'), ["loop"]),
    ("short.vmdk", vmdk_text('RW 99999999 FLAT "looks-like.img" 0'), ["shorter"]),
    ("sectors.vmdk", vmdk_text('RW 99999999999999999999 FLAT "looks-like.img" 0'), ["line"]),
    ("sum.vmdk", vmdk_text(*['RW 2251799813685248 ZERO'] * 40), ["size"]),
    ("many.vmdk", vmdk_text(*['RW 1 ZERO'] * 5000), ["line"]),
    ("no-extents.vmdk", vmdk_text(), ["no extents"]),
    ("type.vmdk", vmdk_text('RW 8 SESPARSE "x.vmdk"'), ["SESPARSE"]),
    ("parent.vmdk", vmdk_text('RW 8 ZERO', parent="11111111", hint="/etc/passwd"), ["own folder"]),
    ("parent-self.vmdk", vmdk_text('RW 8 ZERO', parent="12345678", hint="parent-self.vmdk"),
     ["loop"]),
    ("capacity.vmdk", vmdk_sparse(capacity=HUGE), ["size"]),
    ("grain.vmdk", vmdk_sparse(grain=HUGE), ["grains"]),
    ("grain3.vmdk", vmdk_sparse(grain=3), ["grains"]),
    ("tables.vmdk", vmdk_sparse(gtes=0xffffffff), ["grain tables"]),
    ("directory.vmdk", vmdk_sparse(directory=1 << 40), ["directory", "beyond"]),
    ("directory-wrap.vmdk", vmdk_sparse(directory=2**64 - 8), ["directory", "beyond"]),
    ("directory-huge.vmdk", vmdk_sparse(capacity=1 << 50, gtes=1), ["directory"]),
    ("footer.vmdk", vmdk_sparse(directory=2**64 - 1), ["footer"]),
    ("descriptor.vmdk", vmdk_sparse(descriptor=(1 << 60, 1 << 60)), ["descriptor"]),
    ("cowd.vmdk", b"COWD".ljust(4096, b"\0"), ["COWD"]),
    ("size.vdi", vdi(size=HUGE), ["size", "disk larger"]),
    ("map.vdi", vdi(blocks=0xffffffff, size=1 << 20), ["block map", "beyond"]),
    ("block.vdi", vdi(block=0), ["blocks"]),
    ("block3.vdi", vdi(block=3 << 20), ["blocks"]),
    ("gap.vdi", vdi(extra=0xfffffe00), ["gap"]),
    ("over.vdi", vdi(data=512), ["over its block map"]),
    ("allocated.vdi", vdi(allocated=5000), ["more blocks"]),
    ("diff.vdi", vdi(kind=4), ["differencing"]),
    ("size.vhd", vhd(size=HUGE), ["size"]),
    ("fixed.vhd", vhd(kind=2), ["truncated"]),
    ("kind.vhd", vhd(kind=77), ["type 77"]),
    ("table.vhd", vhd(table=1 << 62), ["table", "beyond"]),
    ("entries.vhd", vhd(entries=0xffffffff), ["table", "beyond"]),
    ("few.vhd", vhd(entries=2), ["larger than its table"]),
    ("block.vhd", vhd(block=0xffffffff), ["blocks"]),
    ("parent.vhd", vhd(kind=4, parent="..\\..\\etc\\passwd"), ["passwd"]),
    ("parent-self.vhd", vhd(kind=4, parent="parent-self.vhd"), ["loop"]),
    ("text.vhd", b"not an image\n" * 100, ["footer"]),
    ("size.vhdx", vhdx(size=HUGE), ["size"]),
    ("block.vhdx", vhdx(block=7), ["blocks"]),
    ("sector.vhdx", vhdx(sector=1), ["sectors"]),
    ("bat.vhdx", vhdx(size=60 << 40), ["block table"]),
    ("region.vhdx", vhdx(regions=[(b"x" * 16, 1 << 60, 1 << 20, 1)]), ["beyond"]),
    ("unknown.vhdx", vhdx(regions=[(b"x" * 16, 1 << 20, 1 << 20, 1)]), ["unknown"]),
    ("log-beyond.vhdx", vhdx(log=(1 << 40, 1 << 20), log_guid=b"L" * 16), ["log"]),
    ("log-huge.vhdx", vhdx(log=(1 << 20, 0x40000000), log_guid=b"L" * 16), ["log"]),
    ("log-empty.vhdx", vhdx(**EVIL_LOG), ["log"]),
    ("log-count.vhdx", vhdx(log_bytes=log_entry(count=0x7fffffff), **EVIL_LOG), ["log"]),
    ("log-kind.vhdx", vhdx(log_bytes=log_entry(descriptor=b"evil" * 8), **EVIL_LOG), ["log"]),
    ("log-wrap.vhdx", vhdx(log_bytes=log_entry(descriptor=struct.pack(
        "<4sIQQQ", b"zero", 0, 2**64 - 4096, 8192, 1)), **EVIL_LOG), ["log"]),
    ("log-overlap.vhdx", vhdx(log_bytes=b"".join(
        struct.pack("<4sIIIQII16sQQ", b"loge", 0, 1 << 20, 0, 1, 1, 0, b"L" * 16, 0,
                    0).ljust(4096, b"\0") for _ in range(256)), **EVIL_LOG), ["log"]),
]

# Opened, but what cannot be followed is said. name, bytes, words of the check
CHECKED = [
    ("l2-beyond.qcow2", qcow2(l1=struct.pack(">Q", 1 << 48)), ["L2 table"]),
    ("no-refs.qcow2", qcow2(refs=False), ["references"]),
    ("reftable-beyond.qcow2", qcow2(reftable=1 << 50), ["refcount table"]),
    ("reftable-huge.qcow2", qcow2(reftable_clusters=0xffffffff), ["refcount table"]),
    ("l2-on-l1.qcow2", qcow2(l1=struct.pack(">Q", 3 * CLUSTER | 1 << 63)), ["references"]),
    ("entries.vdi", vdi(entries=struct.pack("<II", 9, 9), allocated=1), ["beyond"]),
    ("twice.vdi", vdi(entries=struct.pack("<II", 0, 0), allocated=1), ["shares"]),
    ("entries.vhd", vhd(bat=struct.pack(">I", 0x7fffffff)), ["beyond"]),
    ("grains.vmdk", vmdk_sparse(entries=struct.pack("<I", 0x7fffffff)), ["nowhere"]),
]

# Must not be written to: name, bytes, words
UNWRITTEN = [
    ("lie.qcow2", qcow2(refs=False), ["contradict", "--repair"]),
    ("corrupt.qcow2", qcow2(incompatible=2), ["corrupt", "--repair"]),
    ("reftable.qcow2", qcow2(reftable=1 << 50), ["refcount table"]),
    ("l2.qcow2", qcow2(l1=struct.pack(">Q", 1 << 48)), ["L2 table"]),
]


def measured(lodgectl, *arguments):
    """Runs; the result and its seconds."""
    start = time.monotonic()
    process = subprocess.Popen([lodgectl.program, *arguments], env=lodgectl.environment, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=120)
    return (subprocess.CompletedProcess(arguments, process.returncode, out, err),
            time.monotonic() - start)


def put(lodgectl, name, data):
    path = lodgectl.path(name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def surroundings(lodgectl):
    os.symlink("/etc/passwd", lodgectl.path("passwd-link"))
    os.symlink("/proc/self/fd/0", lodgectl.path("proc-link"))
    os.mkfifo(lodgectl.path("pipe"))
    put(lodgectl, "looks-like.img", qcow2())
    put(lodgectl, "chain-0.qcow2", qcow2())
    for i in range(1, 100):
        put(lodgectl, f"chain-{i}.qcow2",
            qcow2(backing=b"chain-%d.qcow2" % (i - 1), extensions=QCOW2))


def clear(result, words):
    lines = result.stderr.splitlines()
    return (result.returncode == 1 and len(lines) == 1 and len(lines[0]) < 600 and
            all(word in lines[0] for word in words) and SECRET not in result.stdout + lines[0])


def run(tap, lodgectl):
    surroundings(lodgectl)
    slowest = 0
    for name, data, words in REFUSED:
        path = put(lodgectl, name, data) if data is not None else lodgectl.path(name)
        for other in [n for n, d, _ in REFUSED if n.startswith("loop-") and d]:
            if not os.path.exists(lodgectl.path(other)):
                put(lodgectl, other, next(d for n, d, _ in REFUSED if n == other))
        result, seconds = measured(lodgectl, "disk", "info", path)
        slowest = max(slowest, seconds)
        tap.check(clear(result, words) and seconds < SECONDS, f"refused: {name}", result)
    for name, data, words in CHECKED:
        path = put(lodgectl, "checked-" + name, data)
        result, seconds = measured(lodgectl, "disk", "check", path)
        slowest = max(slowest, seconds)
        good = result.returncode == 1 and all(word in result.stdout for word in words)
        tap.check(good and seconds < SECONDS, f"checked: {name}", result)
    for name, data, words in UNWRITTEN:
        path = put(lodgectl, name, data)
        result, seconds = measured(lodgectl, "disk", "resize", path, "2G")
        tap.check(clear(result, words), f"not written: {name}", result)
        with open(path, "rb") as file:
            tap.check(file.read() == data, f"not changed: {name}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    tap.check(peak < MEMORY, f"memory: {peak >> 20} MiB at most, {slowest:.2f} s at most", peak)


harness.main(run)

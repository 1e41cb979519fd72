// SPDX-License-Identifier: GPL-2.0-or-later
// See config-keys.h.
#include "engine/config/config-keys.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const char *const boards[] = { "classic-1", NULL };
static const char *const engines[] = { "auto", "kvm", "monitor", "translator", "interpreter",
                                       NULL };
static const char *const boot_devices[] = { "cdrom", "disk", "floppy", "network", NULL };
static const char *const disk_interfaces[] = { "ide", "virtio", NULL };
static const char *const disk_formats[] = { "auto", "raw", "store", "qcow2", "vmdk", "vdi", "vhd",
                                            "vhdx", NULL };
static const char *const network_modes[] = { "nat", "none", NULL };
static const char *const network_models[] = { "e1000", "virtio", NULL };
static const char *const serial_modes[] = { "console", "file", "none", NULL };

const ConfigKey config_keys[] = {
    { "machine", 1, "format", CONFIG_INTEGER, "1", NULL, 1, 1, NULL,
      "Version of this file's format." },
    { "machine", 1, "name", CONFIG_STRING, "", NULL, 0, 64, NULL,
      "The machine's name as people see it." },
    { "machine", 1, "uuid", CONFIG_UUID, "", NULL, 0, 0, NULL,
      "The machine's identity, also in the guest's SMBIOS." },
    { "machine", 1, "linked-to", CONFIG_UUID, "", NULL, 0, 0, NULL,
      "Of a linked clone or a branch: the machine whose snapshot store its own reads from." },
    { "machine", 1, "linked-node", CONFIG_INTEGER, "0", NULL, 0, INT64_MAX, NULL,
      "And the snapshot there that it begins as; 0: it is not known which." },
    { "machine", 1, "board", CONFIG_CHOICE, "classic-1", NULL, 0, 0, boards,
      "The board: classic-1 is i440FX, PIIX3 and PIIX4 with a legacy BIOS." },
    { "machine", 1, "os", CONFIG_STRING, "", NULL, 0, 64, NULL,
      "The guest system's short identifier in osinfo-db, where known." },
    { "machine", 1, "description", CONFIG_STRING, "", NULL, 0, 4096, NULL, "Notes." },

    { "cpu", 1, "count", CONFIG_INTEGER, "1", NULL, 1, 64, NULL, "Virtual CPUs." },
    { "cpu", 1, "engine", CONFIG_CHOICE, "auto", NULL, 0, 0, engines,
      "What executes the guest; auto measures and takes the fastest." },

    { "memory", 1, "size", CONFIG_SIZE, "1G", NULL, 16 * MIB, 512 * GIB, NULL,
      "The guest's memory." },

    { "board", 1, "hpet", CONFIG_BOOLEAN, "true", NULL, 0, 0, NULL,
      "A high precision event timer." },
    { "board", 1, "rng", CONFIG_BOOLEAN, "true", NULL, 0, 0, NULL,
      "A virtio entropy source." },
    { "board", 1, "generation-id", CONFIG_BOOLEAN, "true", NULL, 0, 0, NULL,
      "An ID by which the guest sees that it went back to a snapshot, or is a copy." },
    { "board", 1, "virtio-console", CONFIG_BOOLEAN, "false", NULL, 0, 0, NULL,
      "A virtio console beside the serial ports." },
    { "board", 1, "absolute-pointer", CONFIG_BOOLEAN, "true", NULL, 0, 0, NULL,
      "The VMware pointer port, so that the mouse need not be grabbed." },

    { "boot", 1, "order", CONFIG_LIST, "cdrom,disk,floppy,network", NULL, 0, 0, boot_devices,
      "What the firmware tries to boot, first to last." },
    { "boot", 1, "menu", CONFIG_BOOLEAN, "false", NULL, 0, 0, NULL,
      "The firmware shows its boot menu and waits." },
    { "boot", 1, "kernel", CONFIG_PATH, "", NULL, 0, 0, NULL,
      "A Linux kernel (bzImage) to start without firmware." },
    { "boot", 1, "initrd", CONFIG_PATH, "", NULL, 0, 0, NULL, "Its initial RAM disk." },
    { "boot", 1, "append", CONFIG_STRING, "", NULL, 0, 2048, NULL, "Its command line." },

    { "display", 1, "vram", CONFIG_SIZE, "16M", NULL, 1 * MIB, 256 * MIB, NULL,
      "Video memory; a power of two." },
    { "display", 1, "width", CONFIG_INTEGER, "1280", NULL, 640, 8192, NULL,
      "The screen's preferred width in pixels." },
    { "display", 1, "height", CONFIG_INTEGER, "800", NULL, 400, 8192, NULL,
      "The screen's preferred height in pixels." },

    { "disk", 8, "path", CONFIG_PATH, "", NULL, 0, 0, NULL,
      "The disk's image: raw, qcow2, VMDK, VDI, VHD, (read-only) VHDX; or a snapshot store." },
    { "disk", 8, "format", CONFIG_CHOICE, "auto", NULL, 0, 0, disk_formats,
      "The image's format; auto goes by the end of its name (.store, .qcow2, .vmdk, .vdi, .vhd, "
      ".vhdx; all else is raw), never by what a guest could have written into it." },
    { "disk", 8, "volume", CONFIG_STRING, "", NULL, 0, 31, NULL,
      "In a snapshot store: which volume the disk is; by default disk0 for disk0, and so on." },
    { "disk", 8, "interface", CONFIG_CHOICE, "ide", NULL, 0, 0, disk_interfaces,
      "How the guest sees the disk." },
    { "disk", 8, "read-only", CONFIG_BOOLEAN, "false", NULL, 0, 0, NULL,
      "The guest cannot write (virtio only)." },
    { "disk", 8, "serial", CONFIG_STRING, "", NULL, 0, 20, NULL,
      "The serial number that the guest sees." },

    { "cdrom", 2, "path", CONFIG_PATH, "", NULL, 0, 0, NULL, "The disc in the drive (ISO)." },
    { "cdrom", 2, "present", CONFIG_BOOLEAN, "true", "false", 0, 0, NULL,
      "There is a drive, with or without a disc." },

    { "floppy", 2, "path", CONFIG_PATH, "", NULL, 0, 0, NULL, "The floppy's image." },
    { "floppy", 2, "read-only", CONFIG_BOOLEAN, "false", NULL, 0, 0, NULL,
      "The floppy is write-protected." },

    { "network", 4, "mode", CONFIG_CHOICE, "nat", "none", 0, 0, network_modes,
      "nat: out through the host; none: no such network card." },
    { "network", 4, "model", CONFIG_CHOICE, "e1000", NULL, 0, 0, network_models,
      "The network card that the guest sees." },
    { "network", 4, "mac", CONFIG_MAC, "", NULL, 0, 0, NULL,
      "The card's address; made from the machine's uuid where empty." },
    { "network", 4, "forward", CONFIG_FORWARDS, "", NULL, 0, 0, NULL,
      "Ports of the host (of its loopback, where no address is given) that lead to the guest." },

    { "serial", 2, "mode", CONFIG_CHOICE, "console", "none", 0, 0, serial_modes,
      "Where the serial port leads: a console to attach to, a file, or no such port." },
    { "serial", 2, "path", CONFIG_PATH, "", NULL, 0, 0, NULL, "The file of mode file." },

    { "snapshots", 1, "interval", CONFIG_INTEGER, "0", NULL, 0, 100000, NULL,
      "Minutes between the snapshots that the machine takes by itself while it runs; 0: none." },
    { "snapshots", 1, "memory", CONFIG_BOOLEAN, "true", NULL, 0, 0, NULL,
      "Whether those hold the memory, too." },
    { "snapshots", 1, "budget", CONFIG_SIZE, "8G", NULL, 1 * MIB, 65536 * GIB, NULL,
      "Room that they may take up together; beyond it the oldest go first, protected ones never." },
};
const size_t config_key_count = G_N_ELEMENTS(config_keys);

const ConfigKey *config_key_find(const char *name, unsigned *ret_instance)
{
    const char *dot = strchr(name, '.');
    if (!dot)
        return NULL;
    size_t length = (size_t)(dot - name);
    for (size_t i = 0; i < config_key_count; i++) {
        const ConfigKey *key = &config_keys[i];
        size_t group = strlen(key->group);
        if (strcmp(key->key, dot + 1) != 0 || strncmp(name, key->group, group) != 0)
            continue;
        if (key->instances == 1 && length == group) {
            *ret_instance = 0;
            return key;
        }
        // One digit: no group has more than ten instances.
        if (key->instances > 1 && length == group + 1 && g_ascii_isdigit(name[group]) &&
            (unsigned)(name[group] - '0') < key->instances) {
            *ret_instance = (unsigned)(name[group] - '0');
            return key;
        }
    }
    return NULL;
}

char *config_key_name(const ConfigKey *key, unsigned instance)
{
    if (key->instances == 1)
        return g_strdup_printf("%s.%s", key->group, key->key);
    return g_strdup_printf("%s%u.%s", key->group, instance, key->key);
}

gboolean config_size_parse(const char *text, int64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    if (!g_ascii_isdigit(*text))
        return FALSE;
    char *end;
    errno = 0;
    guint64 value = g_ascii_strtoull(text, &end, 10);
    if (errno || value > G_MAXINT64)
        return FALSE;
    if (*end) {
        const char *unit = strchr(units, g_ascii_toupper(*end));
        if (!unit)
            return FALSE;
        for (const char *p = units; p <= unit; p++) {
            if (__builtin_mul_overflow(value, 1024, &value) || value > G_MAXINT64)
                return FALSE;
        }
        end++;
        if (strcmp(end, "iB") == 0)
            end += 2;
        else if (g_ascii_toupper(*end) == 'B')
            end++;
    } else if (value != 0) {
        return FALSE; // a number without a unit: bytes, or megabytes? ask
    }
    if (*end)
        return FALSE;
    *ret_bytes = (int64_t)value;
    return TRUE;
}

char *config_size_format(int64_t bytes)
{
    static const char *const units[] = { "T", "G", "M", "K" };
    int64_t unit = 1024 * GIB;
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++, unit /= 1024) {
        if (bytes >= unit && bytes % unit == 0)
            return g_strdup_printf("%" G_GINT64_FORMAT "%s", bytes / unit, units[i]);
    }
    return g_strdup_printf("%" G_GINT64_FORMAT, bytes);
}

char *config_key_expects(const ConfigKey *key)
{
    switch (key->type) {
    case CONFIG_STRING:
        return g_strdup_printf("text of at most %" G_GINT64_FORMAT " bytes on one line", key->max);
    case CONFIG_PATH:
        return g_strdup("the name of a file");
    case CONFIG_INTEGER:
        if (key->min == key->max)
            return g_strdup_printf("%" G_GINT64_FORMAT, key->min);
        return g_strdup_printf("a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
                               key->min, key->max);
    case CONFIG_SIZE: {
        g_autofree char *min = config_size_format(key->min);
        g_autofree char *max = config_size_format(key->max);
        return g_strdup_printf("a size from %s to %s, with a unit, like 512M or 2G", min, max);
    }
    case CONFIG_BOOLEAN:
        return g_strdup("true or false");
    case CONFIG_CHOICE: {
        g_autofree char *names = g_strjoinv(", ", (char **)key->choices);
        return g_strdup_printf("%s%s", key->choices[1] ? "one of: " : "", names);
    }
    case CONFIG_LIST: {
        g_autofree char *names = g_strjoinv(", ", (char **)key->choices);
        return g_strdup_printf("some of: %s; separated by commas, each at most once", names);
    }
    case CONFIG_UUID:
        return g_strdup("a UUID, like 7c9e6679-7425-40de-944b-e07fc1f90ae7");
    case CONFIG_MAC:
        return g_strdup("a unicast MAC address, like 52:4c:47:12:34:56");
    case CONFIG_FORWARDS:
        return g_strdup("HOST:GUEST port pairs, like 8080:80 or 5353:53/udp, separated by commas");
    }
    g_return_val_if_reached(NULL);
}

static char *parse_list(const ConfigKey *key, const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", 16);
    g_autoptr(GPtrArray) seen = g_ptr_array_new();
    for (char **part = parts; *part; part++) {
        g_strstrip(*part);
        if (!**part)
            continue;
        if (!g_strv_contains(key->choices, *part) ||
            g_ptr_array_find_with_equal_func(seen, *part, g_str_equal, NULL))
            return NULL;
        g_ptr_array_add(seen, *part);
    }
    g_ptr_array_add(seen, NULL);
    return g_strjoinv(",", (char **)seen->pdata);
}

static char *parse_mac(const char *text)
{
    unsigned byte[6];
    char end;
    if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1],
                                     &byte[2], &byte[3], &byte[4], &byte[5], &end) != 6)
        return NULL;
    for (int i = 0; i < 17; i++) {
        if (i % 3 == 2 ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
            return NULL;
    }
    return byte[0] & 1 ? NULL : g_ascii_strdown(text, -1);
}

static gboolean parse_port(const char *text, size_t length)
{
    if (length == 0 || length > 5)
        return FALSE;
    unsigned value = 0;
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isdigit(text[i]))
            return FALSE;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    return value >= 1 && value <= 65535;
}

static gboolean parse_forward(const char *text)
{
    const char *guest = strrchr(text, ':');
    if (!guest)
        return FALSE;
    size_t guest_length = strlen(guest + 1);
    if (g_str_has_suffix(guest, "/udp") || g_str_has_suffix(guest, "/tcp"))
        guest_length -= 4;
    if (!parse_port(guest + 1, guest_length))
        return FALSE;
    g_autofree char *host = g_strndup(text, (gsize)(guest - text));
    const char *port = strrchr(host, ':');
    if (!port)
        return parse_port(host, strlen(host));
    g_autofree char *address = g_strndup(host, (gsize)(port - host));
    size_t length = strlen(address);
    if (length > 2 && address[0] == '[' && address[length - 1] == ']') {
        address[length - 1] = 0;
        if (!g_hostname_is_ip_address(address + 1))
            return FALSE;
    } else if (!g_hostname_is_ip_address(address) || strchr(address, ':')) {
        return FALSE;
    }
    return parse_port(port + 1, strlen(port + 1));
}

static char *parse_forwards(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", 256);
    for (char **part = parts; *part; part++) {
        g_strstrip(*part);
        if (!parse_forward(*part))
            return NULL;
    }
    return g_strjoinv(",", parts);
}

static char *parse_value(const ConfigKey *key, const char *text)
{
    switch (key->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        for (const char *p = text; *p; p++) {
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                return NULL;
        }
        if (key->type == CONFIG_STRING && strlen(text) > (size_t)key->max)
            return NULL;
        return g_utf8_validate(text, -1, NULL) ? g_strdup(text) : NULL;
    case CONFIG_INTEGER: {
        gint64 value;
        if (!g_ascii_string_to_signed(text, 10, key->min, key->max, &value, NULL))
            return NULL;
        return g_strdup_printf("%" G_GINT64_FORMAT, value);
    }
    case CONFIG_SIZE: {
        int64_t bytes;
        if (!config_size_parse(text, &bytes) || bytes < key->min || bytes > key->max)
            return NULL;
        return config_size_format(bytes);
    }
    case CONFIG_BOOLEAN:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 ? g_strdup(text) : NULL;
    case CONFIG_CHOICE:
        return g_strv_contains(key->choices, text) ? g_strdup(text) : NULL;
    case CONFIG_LIST:
        return parse_list(key, text);
    case CONFIG_UUID:
        return g_uuid_string_is_valid(text) ? g_ascii_strdown(text, -1) : NULL;
    case CONFIG_MAC:
        return parse_mac(text);
    case CONFIG_FORWARDS:
        return parse_forwards(text);
    }
    g_return_val_if_reached(NULL);
}

char *config_key_parse(const ConfigKey *key, const char *text, GError **error)
{
    // An empty value is "not set" for every key that has no other default.
    char *value = !*text && !*key->default_value ? g_strdup("") : parse_value(key, text);
    if (!value) {
        g_autofree char *expects = config_key_expects(key);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "must be %s", expects);
    }
    return value;
}

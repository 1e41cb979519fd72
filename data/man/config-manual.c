// SPDX-License-Identifier: GPL-2.0-or-later
// Writes the manual page lodge.conf(5) from the table of keys.
#include "engine/config/config-keys.h"

#include <stdio.h>
#include <string.h>

static const char head[] =
    ".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n"
    ".TH LODGE.CONF 5 \"\" \"Lodge\" \"File formats\"\n"
    ".SH NAME\n"
    "lodge.conf \\- settings of a virtual machine\n"
    ".SH DESCRIPTION\n"
    "The file\n.I machine.conf\nin a machine's folder holds its settings: groups in brackets, one "
    "key and its value a line, comments after a hash. It may be edited by hand or with\n"
    ".B lodgectl set\nwhile the machine is off; a running machine reads it at its next start. An "
    "unknown key or a value of a wrong kind is refused with its line, never ignored.\n"
    ".PP\n"
    "A key is called GROUP.KEY on command lines:\n.B cpu.count\nis the key\n.B count\n"
    "in the group\n.BR [cpu] .\nA key that is not set has its default. Files are relative to the "
    "machine's folder. Sizes have a unit: 512M, 20G.\n";

static const char tail[] =
    ".SH EXAMPLE\n.nf\n[machine]\nformat=1\nname=web\nuuid=7c9e6679-7425-40de-944b-e07fc1f90ae7\n"
    "board=classic-1\n\n[cpu]\ncount=2\n\n[memory]\nsize=2G\n\n[disk0]\npath=disk0.raw\n"
    "interface=virtio\n.fi\n"
    ".SH SEE ALSO\n.BR lodgectl (1),\n.BR lodge\\-engine (1)\n";

// Text for roff: a dash that is a minus, no accidental request at the start of a line.
static void put(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '-')
            putchar('\\');
        putchar(*p);
    }
}

static void put_key(const ConfigKey *key)
{
    g_autofree char *expects = config_key_expects(key);
    printf(".TP\n.B ");
    put(key->key);
    putchar('\n');
    put(key->doc);
    printf("\n.br\nA value is ");
    put(expects);
    printf(".\n");
    if (*key->default_value) {
        printf("Default: ");
        put(key->default_value);
        if (key->other_default) {
            printf("; of all but the first: ");
            put(key->other_default);
        }
        printf(".\n");
    }
}

int main(void)
{
    fputs(head, stdout);
    const char *group = "";
    for (size_t i = 0; i < config_key_count; i++) {
        const ConfigKey *key = &config_keys[i];
        if (strcmp(group, key->group) != 0) {
            group = key->group;
            if (key->instances > 1)
                printf(".SH [%s0] TO [%s%u]\n", group, group, key->instances - 1);
            else
                printf(".SH [%s]\n", group);
        }
        put_key(key);
    }
    fputs(tail, stdout);
    return 0;
}

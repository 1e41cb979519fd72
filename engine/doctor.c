// SPDX-License-Identifier: GPL-2.0-or-later
// See doctor.h. JSON members are a contract: added, never changed.
#include "engine/doctor.h"

#include "engine/firmware/rom-loader.h"
#include "engine/sandbox.h"
#include "engine/vcpu/select.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: lodgectl doctor [--json]\n"
    "Says what this computer offers, which engine would be taken and why, with measured speeds.\n"
    "\n"
    "  --json                 as JSON, for scripts\n"
    "\n"
    "Status: 0 where a machine can run, 1 where something it needs is missing, 2 wrong usage.\n";

static const struct {
    RomId id;
    const char *name;
    bool needed;
} roms[] = {
    { ROM_BIOS, "SeaBIOS", true },
    { ROM_VGA_STANDARD, "VGA BIOS", true },
    { ROM_NET_E1000, "network boot, e1000", false },
    { ROM_NET_VIRTIO, "network boot, virtio", false },
};

typedef struct {
    bool json;
    GString *text;
    bool healthy;
} Report;

// Sentences here hold no control characters.
static char *quote(const char *text)
{
    g_autofree char *escaped = g_strescape(text, "");
    return g_strdup_printf("\"%s\"", escaped);
}

static void report_engines(Report *report)
{
    BackendReport engines[BACKEND_COUNT];
    vcpu_select_report(engines, true);
    g_autoptr(GError) error = NULL;
    g_autofree char *why = NULL;
    const VcpuBackendOps *chosen = vcpu_select("auto", &why, &error);
    report->healthy &= chosen != NULL;
    if (report->json) {
        g_autofree char *reason = quote(chosen ? why : error->message);
        g_string_append_printf(report->text,
                               "  \"chosen\": \"%s\",\n  \"why\": %s,\n  \"engines\": [",
                               chosen ? chosen->name : "", reason);
    } else {
        g_string_append_printf(report->text, "Engine taken by auto: %s\n  %s\n\nEngines\n",
                               chosen ? chosen->name : "none", chosen ? why : error->message);
    }
    for (unsigned i = 0; i < BACKEND_COUNT; i++) {
        const BackendReport *engine = &engines[i];
        g_autofree char *reason = quote(engine->reason ? engine->reason : "");
        if (report->json)
            g_string_append_printf(report->text,
                                   "%s\n    {\"name\": \"%s\", \"available\": %s, \"reason\": %s, "
                                   "\"instructions_per_second\": %.0f}",
                                   i ? "," : "", engine->ops->name,
                                   engine->reason ? "false" : "true", reason,
                                   engine->instructions_per_second);
        else if (engine->reason)
            g_string_append_printf(report->text, "  %-14s no: %s\n", engine->ops->name,
                                   engine->reason);
        else
            g_string_append_printf(report->text, "  %-14s %.1f million instructions a second\n",
                                   engine->ops->name, engine->instructions_per_second / 1e6);
    }
    g_string_append(report->text, report->json ? "\n  ],\n" : "\n");
    vcpu_select_clear(engines);
}

static void report_firmware(Report *report)
{
    g_string_append(report->text, report->json ? "  \"firmware\": [" : "Firmware\n");
    for (size_t i = 0; i < G_N_ELEMENTS(roms); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) rom = rom_load(roms[i].id, &error);
        if (!rom && roms[i].needed)
            report->healthy = false;
        if (report->json) {
            g_autofree char *problem = quote(rom ? "" : error->message);
            g_string_append_printf(report->text,
                                   "%s\n    {\"name\": \"%s\", \"available\": %s, \"needed\": %s, "
                                   "\"problem\": %s}",
                                   i ? "," : "", roms[i].name, rom ? "true" : "false",
                                   roms[i].needed ? "true" : "false", problem);
        } else {
            g_string_append_printf(report->text, "  %-22s %s\n", roms[i].name,
                                   rom ? "there" : error->message);
        }
    }
    g_string_append(report->text, report->json ? "\n  ],\n" : "\n");
}

static void report_host(Report *report)
{
    double gib = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    bool landlock = sandbox_has_landlock();
    if (report->json)
        g_string_append_printf(report->text,
                               "  \"host\": {\"cpus\": %ld, \"memory_gib\": %.1f, "
                               "\"landlock\": %s}\n",
                               cpus, gib, landlock ? "true" : "false");
    else
        g_string_append_printf(report->text,
                               "Host\n  %ld CPUs, %.1f GiB of memory\n  sandbox: %s\n", cpus, gib,
                               landlock ? "seccomp and Landlock"
                                        : "seccomp alone, this kernel has no Landlock");
}

int doctor_command(int argc, char **argv)
{
    Report report = { .healthy = true };
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--json") != 0) {
            fprintf(stderr, "lodgectl doctor: there is no option %s; see lodgectl doctor --help\n",
                    argv[i]);
            return 2;
        }
        report.json = true;
    }
    g_autoptr(GString) text = g_string_new(report.json ? "{\n" : "");
    report.text = text;
    report_engines(&report);
    report_firmware(&report);
    report_host(&report);
    printf("%s%s", text->str, report.json ? "}\n" : "");
    return report.healthy ? 0 : 1;
}

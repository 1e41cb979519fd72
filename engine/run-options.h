// SPDX-License-Identifier: GPL-2.0-or-later
// The options of `lodgectl run` (lodge-engine --run): one transient machine in the foreground.
#pragma once

#include "engine/config/config.h"

typedef enum { RUN_SERIAL_NONE, RUN_SERIAL_STDIO, RUN_SERIAL_FILE } RunSerial;
typedef enum { RUN_DISPLAY_NONE, RUN_DISPLAY_PICTURE, RUN_DISPLAY_WINDOW } RunDisplay;

// Something to do SECONDS after the start.
typedef struct {
    char *what; // text to type, or a file for a screenshot
    double seconds;
} RunTimed;

typedef struct {
    Config *config;
    RunSerial serial;
    char *serial_path;
    RunDisplay display;
    char *display_path;
    GArray *screenshots; // of RunTimed
    GArray *texts;       // of RunTimed
    int debug_exit_port; // -1: none
    double timeout;      // seconds; 0: none
    char *stats_path;    // may be NULL
    char *log_path;      // may be NULL; "-" is standard error
    char *spice_path;    // may be NULL
} RunOptions;

// argv: the options without the program's name and "run". On failure NULL and error, one sentence.
// After --help, which is printed, NULL without error.
RunOptions *run_options_parse(int argc, char **argv, GError **error);
void run_options_free(RunOptions *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RunOptions, run_options_free)

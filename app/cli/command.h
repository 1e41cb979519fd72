// SPDX-License-Identifier: GPL-2.0-or-later
// A command of lodgectl: its options are data, so that parsing, --help and the tests of both come
// from one place.
#pragma once

#include <glib.h>
#include <stdbool.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

typedef struct {
    const char *name;  // "--memory"
    const char *value; // "SIZE"; NULL: takes none
    const char *doc;
} CliOption;

typedef struct {
    GPtrArray *arguments; // of char *, without options
    GPtrArray *names;     // of options given, as in their rows, in order
    GPtrArray *values;    // theirs, NULL where they take none
} CliCall;

typedef struct CliCommand CliCommand;
struct CliCommand {
    const char *name;      // "create"; of a subcommand with its command's: "snapshot take"
    const char *arguments; // "NAME KEY=VALUE..."
    const char *summary;   // one line
    const CliOption *options;
    size_t option_count;
    unsigned min_arguments, max_arguments;
    int (*run)(const CliCall *call);
    // Takes its arguments as they are, --help too; run is NULL then.
    int (*run_raw)(int argc, char **argv);
    // Its first argument is the last word of one of these; run is NULL then.
    const CliCommand *const *subcommands;
    size_t subcommand_count;
};

// Parses and runs. Returns an exit status.
int cli_command_run(const CliCommand *command, int argc, char **argv);

const char *cli_argument(const CliCall *call, unsigned index);
bool cli_has(const CliCall *call, const char *option);
// The option's last value, or NULL.
const char *cli_value(const CliCall *call, const char *option);

// Prints "lodgectl: message" and frees the error; returns CLI_FAILED.
int cli_fail(GError *error);
int cli_fail_text(const char *format, ...) G_GNUC_PRINTF(1, 2);

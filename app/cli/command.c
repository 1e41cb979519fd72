// SPDX-License-Identifier: GPL-2.0-or-later
// See command.h. Options may stand before, between and after arguments; "--" ends them.
#include "app/cli/command.h"

#include <stdio.h>
#include <string.h>

static int wrong_usage(const CliCommand *command, const char *format, ...) G_GNUC_PRINTF(2, 3);

static int wrong_usage(const CliCommand *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "lodgectl %s: %s; see lodgectl %s --help\n", command->name, text,
            command->name);
    return CLI_USAGE;
}

static void print_help(const CliCommand *command)
{
    printf("Usage: lodgectl %s%s%s%s\n%s\n", command->name,
           command->option_count ? " [OPTION]..." : "", *command->arguments ? " " : "",
           command->arguments, command->summary);
    if (command->option_count)
        printf("\n");
    for (size_t i = 0; i < command->option_count; i++) {
        const CliOption *option = &command->options[i];
        g_autofree char *left = option->value
                                    ? g_strdup_printf("%s %s", option->name, option->value)
                                    : g_strdup(option->name);
        printf("  %-22s %s\n", left, option->doc);
    }
    printf("\nStatus: 0 done, 1 failed, 2 wrong usage. See lodgectl(1).\n");
}

static const CliOption *find_option(const CliCommand *command, const char *argument,
                                    const char **ret_value)
{
    for (size_t i = 0; i < command->option_count; i++) {
        const CliOption *option = &command->options[i];
        size_t length = strlen(option->name);
        if (strncmp(argument, option->name, length) != 0)
            continue;
        if (argument[length] == 0 || (argument[length] == '=' && option->value)) {
            *ret_value = argument[length] ? argument + length + 1 : NULL;
            return option;
        }
    }
    return NULL;
}

// -1 to go on, else an exit status.
static int parse(const CliCommand *command, CliCall *call, int argc, char **argv)
{
    bool options_over = false;
    for (int i = 0; i < argc; i++) {
        const char *value = NULL;
        if (options_over || argv[i][0] != '-' || argv[i][1] == 0) {
            g_ptr_array_add(call->arguments, argv[i]);
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            options_over = true;
            continue;
        }
        if (strcmp(argv[i], "--help") == 0) {
            print_help(command);
            return CLI_OK;
        }
        const CliOption *option = find_option(command, argv[i], &value);
        if (!option)
            return wrong_usage(command, "there is no option %s", argv[i]);
        if (option->value && !value) {
            if (i + 1 == argc)
                return wrong_usage(command, "%s needs a value (%s)", option->name, option->value);
            value = argv[++i];
        }
        g_ptr_array_add(call->names, (char *)option->name);
        g_ptr_array_add(call->values, (char *)value);
    }
    if (call->arguments->len < command->min_arguments)
        return wrong_usage(command, "too few arguments, it takes %s", command->arguments);
    if (call->arguments->len > command->max_arguments)
        return wrong_usage(command, "%s is one argument too many%s%s",
                           cli_argument(call, command->max_arguments),
                           *command->arguments ? ", it takes " : "", command->arguments);
    return -1;
}

static void print_subcommands(const CliCommand *command, FILE *out)
{
    fprintf(out, "Usage: lodgectl %s COMMAND [ARGUMENT]...\n%s\n\n", command->name,
            command->summary);
    for (size_t i = 0; i < command->subcommand_count; i++) {
        const CliCommand *sub = command->subcommands[i];
        fprintf(out, "  %-22s %s\n", sub->name, sub->summary);
    }
    fprintf(out, "\nEach explains itself with --help. See lodgectl(1).\n");
}

static int run_subcommand(const CliCommand *command, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "--help") == 0) {
        print_subcommands(command, stdout);
        return CLI_OK;
    }
    for (size_t i = 0; argc > 0 && i < command->subcommand_count; i++) {
        const CliCommand *sub = command->subcommands[i];
        if (strcmp(strrchr(sub->name, ' ') + 1, argv[0]) == 0)
            return cli_command_run(sub, argc - 1, argv + 1);
    }
    if (argc > 0)
        return wrong_usage(command, "there is no command %s %s", command->name, argv[0]);
    print_subcommands(command, stderr);
    return CLI_USAGE;
}

int cli_command_run(const CliCommand *command, int argc, char **argv)
{
    if (command->subcommands)
        return run_subcommand(command, argc, argv);
    if (command->run_raw)
        return command->run_raw(argc, argv);
    g_autoptr(GPtrArray) arguments = g_ptr_array_new();
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autoptr(GPtrArray) values = g_ptr_array_new();
    CliCall call = { arguments, names, values };
    int status = parse(command, &call, argc, argv);
    return status >= 0 ? status : command->run(&call);
}

const char *cli_argument(const CliCall *call, unsigned index)
{
    return call->arguments->pdata[index];
}

bool cli_has(const CliCall *call, const char *option)
{
    for (guint i = 0; i < call->names->len; i++) {
        if (strcmp(call->names->pdata[i], option) == 0)
            return true;
    }
    return false;
}

const char *cli_value(const CliCall *call, const char *option)
{
    for (guint i = call->names->len; i-- > 0;) {
        if (strcmp(call->names->pdata[i], option) == 0)
            return call->values->pdata[i];
    }
    return NULL;
}

int cli_fail(GError *error)
{
    fprintf(stderr, "lodgectl: %s\n", error->message);
    g_error_free(error);
    return CLI_FAILED;
}

int cli_fail_text(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "lodgectl: %s\n", text);
    return CLI_FAILED;
}

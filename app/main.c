// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-application.h"
#include "app/lodge-attach.h"

#include <glib/gi18n.h>
#include <locale.h>
#include <string.h>

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    bindtextdomain("lodge", LODGE_LOCALE_DIR);
    bind_textdomain_codeset("lodge", "UTF-8");
    textdomain("lodge");
    if (argc == 3 && strcmp(argv[1], "--attach") == 0)
        return lodge_attach(argv[2]);
    g_autoptr(LodgeApplication) application = lodge_application_new();
    return g_application_run(G_APPLICATION(application), argc, argv);
}

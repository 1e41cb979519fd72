// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-application.h"

#include <glib/gi18n.h>
#include <locale.h>

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    bindtextdomain("lodge", LODGE_LOCALE_DIR);
    bind_textdomain_codeset("lodge", "UTF-8");
    textdomain("lodge");
    g_autoptr(LodgeApplication) application = lodge_application_new();
    return g_application_run(G_APPLICATION(application), argc, argv);
}

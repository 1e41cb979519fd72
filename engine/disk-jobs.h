// SPDX-License-Identifier: GPL-2.0-or-later
// lodge-engine --disk: information, check, conversion and resizing of disk images, for lodgectl
// disk. It is here because the frontends never open an image themselves.
#pragma once

// COMMAND FILE...: the arguments after --disk. Returns an exit status; errors are one line on
// standard error, progress goes there too.
int disk_command(int argc, char **argv);

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What describes the program is valid: data-files.sh DESKTOP-FILE METAINFO ICON...
set -e
desktop-file-validate "$1"
appstreamcli validate --no-net --explain "$2"
shift 2
for icon in "$@"; do
    /usr/bin/python3 - "$icon" <<'PYTHON'
import sys
import gi
gi.require_version("GdkPixbuf", "2.0")
from gi.repository import GdkPixbuf
picture = GdkPixbuf.Pixbuf.new_from_file_at_size(sys.argv[1], 64, 64)
assert picture.get_width() == 64 and any(picture.get_pixels()), "an empty picture"
PYTHON
done

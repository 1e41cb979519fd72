#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for the user's systemd: writes each StartTransientUnit call to a file.
mock-systemd.py FILE"""
import sys

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib

XML = """<node><interface name='org.freedesktop.systemd1.Manager'>
<method name='StartTransientUnit'><arg type='s' direction='in'/><arg type='s' direction='in'/>
<arg type='a(sv)' direction='in'/><arg type='a(sa(sv))' direction='in'/>
<arg type='o' direction='out'/></method></interface></node>"""


def called(connection, sender, path, interface, method, arguments, invocation):
    unit, mode, properties, _auxiliary = arguments.unpack()
    with open(sys.argv[1], "a") as file:
        print(unit, mode, properties, file=file)
    invocation.return_value(GLib.Variant("(o)", ("/org/freedesktop/systemd1/job/1",)))


bus = Gio.bus_get_sync(Gio.BusType.SESSION)
bus.register_object("/org/freedesktop/systemd1",
                    Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0], called, None, None)
Gio.bus_own_name_on_connection(bus, "org.freedesktop.systemd1", 0,
                               lambda *_: print("ready", flush=True), None)
GLib.MainLoop().run()

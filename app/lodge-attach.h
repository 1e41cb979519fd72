// SPDX-License-Identifier: GPL-2.0-or-later
// `lodge --attach SOCKET`: nothing but a machine's screen in a window, for `lodgectl run --display
// window`. Ends when the window is closed or the engine is gone.
#pragma once

// socket: the engine's scanout socket. Returns an exit status.
int lodge_attach(const char *socket);

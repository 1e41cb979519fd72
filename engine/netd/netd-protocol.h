// SPDX-License-Identifier: GPL-2.0-or-later
// What the engine and lodge-netd say to each other, over two SOCK_SEQPACKET socket pairs that
// lodge-netd inherits as descriptors 3 and 4.
//
// Frames (descriptor 3): one datagram is one Ethernet frame without FCS, either way.
//
// Control (descriptor 4): one datagram is one line of text without a newline.
//   netd to engine   "hello"            a network stack is up and knows no forwards
//                    "down WORDS"       it died; another "hello" follows
//                    "ok ID"            answer to request ID
//                    "error ID WORDS"   answer: WORDS are for the user
//   engine to netd   "add ID PROTOCOL HOST HOST_PORT GUEST GUEST_PORT"
//                    "remove ID PROTOCOL HOST HOST_PORT"
//                    "ping ID"
// ID is a decimal number, PROTOCOL tcp or udp, HOST an IPv4 or IPv6 address of this host, GUEST an
// address of the same family in the guest's network or "-" for the first DHCP address.
// End of file on the control socket ends lodge-netd.
#pragma once

#define NETD_FRAMES_FD   3
#define NETD_CONTROL_FD  4
#define NETD_FRAME_MAX   65550 // bytes, as in engine/bus/net-backend.h
#define NETD_LINE_MAX    512
#define NETD_EXIT_RENEW  75 // the worker's wish to be started anew (resolv.conf was replaced)

// SPDX-License-Identifier: GPL-2.0-or-later
// The serial port: a 16550A with its FIFOs, all interrupts, loopback and modem lines. Sending takes
// no time unless the backend is slow; the baud rate only sets the receive timeout. Follows the
// National Semiconductor PC16550D data sheet (TL/C/8652), section 8. On a PC, OUT2 gates the
// interrupt.
#include "engine/devices/chipset/uart-16550.h"

#include <gio/gio.h>

#define FIFO_SIZE      16
#define CLOCK_HZ       1843200
#define RETRY_NS       INT64_C(10000000)
#define RETRIES        100 // a backend that takes nothing for a second loses what waits

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
enum { IER_RECEIVED = 1, IER_TRANSMIT = 2, IER_LINE = 4, IER_MODEM = 8 };
// Interrupt identification, in order of priority (table IV).
enum { IIR_NONE = 1, IIR_LINE = 6, IIR_RECEIVED = 4, IIR_TIMEOUT = 12, IIR_TRANSMIT = 2,
       IIR_MODEM = 0, IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RECEIVE = 2, FCR_CLEAR_TRANSMIT = 4 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { LSR_DATA = 1, LSR_OVERRUN = 2, LSR_BREAK = 0x10, LSR_THR_EMPTY = 0x20, LSR_IDLE = 0x40 };
enum { MSR_DELTAS = 0x0f, MSR_RI_EDGE = 4, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40,
       MSR_DCD = 0x80 };

typedef struct {
    uint8_t bytes[FIFO_SIZE];
    uint8_t head, count;
} Fifo;

typedef struct {
    DeviceHost host;
    Uart16550Config config;
    BusRegion *region;
    bool engaged;
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
    uint16_t divisor;
    bool transmit_interrupt; // THRE is pending: cleared by reading IIR or writing THR
    bool timeout;            // characters have waited in the receive FIFO
    uint8_t retries;
    Fifo receive, transmit;
    Timer *timeout_timer, *retry_timer;
    int64_t timeout_deadline, retry_deadline; // as saved
} Uart;

static unsigned capacity(const Uart *uart)
{
    return uart->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static void push(Fifo *fifo, uint8_t byte)
{
    fifo->bytes[(fifo->head + fifo->count) % FIFO_SIZE] = byte;
    fifo->count++;
}

static uint8_t pop(Fifo *fifo)
{
    uint8_t byte = fifo->bytes[fifo->head];
    fifo->head = (fifo->head + 1) % FIFO_SIZE;
    fifo->count--;
    return byte;
}

static unsigned trigger_level(const Uart *uart)
{
    static const uint8_t levels[4] = { 1, 4, 8, 14 };
    return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> 6] : 1;
}

static uint8_t identify(const Uart *uart)
{
    if ((uart->ier & IER_LINE) && (uart->lsr & (LSR_OVERRUN | LSR_BREAK)))
        return IIR_LINE;
    if ((uart->ier & IER_RECEIVED) && uart->receive.count >= trigger_level(uart))
        return IIR_RECEIVED;
    if ((uart->ier & IER_RECEIVED) && uart->timeout)
        return IIR_TIMEOUT;
    if ((uart->ier & IER_TRANSMIT) && uart->transmit_interrupt)
        return IIR_TRANSMIT;
    if ((uart->ier & IER_MODEM) && (uart->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(Uart *uart)
{
    bool gate = (uart->mcr & MCR_OUT2) && !(uart->mcr & MCR_LOOP);
    irq_set(&uart->host.isa_irq[uart->config.irq & 15], gate && identify(uart) != IIR_NONE);
}

// Four characters' time (section 8.5, "FIFO interrupt mode operation").
static int64_t timeout_ns(const Uart *uart)
{
    int64_t divisor = uart->divisor ? uart->divisor : 1;
    unsigned bits = 2 + 5 + (uart->lcr & 3) + (uart->lcr & 8 ? 1 : 0);
    return 4 * bits * divisor * 16 * NS_PER_SECOND / CLOCK_HZ;
}

static void arm_timeout(Uart *uart)
{
    uart->timeout = false;
    if ((uart->fcr & FCR_ENABLE) && uart->receive.count)
        timer_arm(uart->timeout_timer, clock_now(uart->host.clock) + timeout_ns(uart));
    else
        timer_cancel(uart->timeout_timer);
}

static void timeout_expired(void *opaque)
{
    Uart *uart = opaque;
    uart->timeout = uart->receive.count > 0;
    update_irq(uart);
}

static void take_byte(Uart *uart, uint8_t byte)
{
    if (uart->receive.count >= capacity(uart)) {
        uart->lsr |= LSR_OVERRUN;
        // Without FIFOs the new character replaces the old one; with them it is lost.
        if (!(uart->fcr & FCR_ENABLE) && uart->receive.count)
            uart->receive.bytes[uart->receive.head] = byte;
    } else {
        push(&uart->receive, byte);
    }
    uart->lsr |= LSR_DATA;
    arm_timeout(uart);
}

static size_t frontend_can_receive(void *opaque)
{
    const Uart *uart = opaque;
    if (uart->mcr & MCR_LOOP)
        return 0;
    unsigned most = capacity(uart);
    return uart->receive.count < most ? most - uart->receive.count : 0;
}

static void frontend_receive(void *opaque, const uint8_t *data, size_t size)
{
    Uart *uart = opaque;
    if (uart->mcr & MCR_LOOP)
        return;
    for (size_t i = 0; i < size; i++)
        take_byte(uart, data[i]);
    update_irq(uart);
}

static void tell_room(Uart *uart)
{
    const CharBackend *backend = uart->config.backend;
    if (backend && backend->room && frontend_can_receive(uart))
        backend->room(backend->opaque);
}

// Offers what waits to the backend; the rest is offered again later.
static void drain(Uart *uart)
{
    const CharBackend *backend = uart->config.backend;
    bool moved = false;
    while (uart->transmit.count) {
        uint8_t byte = uart->transmit.bytes[uart->transmit.head];
        if (backend && !(uart->lcr & LCR_BREAK) && uart->retries < RETRIES &&
            backend->write(backend->opaque, &byte, 1) == 0)
            break;
        pop(&uart->transmit);
        moved = true;
    }
    if (uart->transmit.count) {
        uart->retries = moved ? 0 : uart->retries + 1;
        timer_arm(uart->retry_timer, clock_now(uart->host.clock) + RETRY_NS);
        return;
    }
    // After a loss the backend gets one byte to show that it is alive again.
    uart->retries = uart->retries >= RETRIES ? RETRIES - 1 : 0;
    timer_cancel(uart->retry_timer);
    uart->lsr |= LSR_THR_EMPTY | LSR_IDLE;
    uart->transmit_interrupt = true;
}

static void retry_expired(void *opaque)
{
    Uart *uart = opaque;
    drain(uart);
    update_irq(uart);
}

static void send(Uart *uart, uint8_t byte)
{
    uart->transmit_interrupt = false;
    if (uart->mcr & MCR_LOOP) {
        take_byte(uart, byte);
        uart->transmit_interrupt = true;
        return;
    }
    if (uart->transmit.count >= capacity(uart))
        return; // the guest did not look at LSR
    push(&uart->transmit, byte);
    uart->lsr &= (uint8_t)~(LSR_THR_EMPTY | LSR_IDLE);
    if (timer_deadline(uart->retry_timer) < 0)
        drain(uart);
}

// The modem's lines: a cable with everything on, or the outputs looped back.
static void update_modem(Uart *uart)
{
    uint8_t lines = uart->config.backend ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
    if (uart->mcr & MCR_LOOP)
        lines = (uint8_t)((uart->mcr & MCR_RTS ? MSR_CTS : 0) |
                          (uart->mcr & MCR_DTR ? MSR_DSR : 0) |
                          (uart->mcr & MCR_OUT1 ? MSR_RI : 0) |
                          (uart->mcr & MCR_OUT2 ? MSR_DCD : 0));
    uint8_t old = uart->msr & 0xf0, changed = (old ^ lines) >> 4;
    // RI reports its trailing edge only.
    if ((changed & MSR_RI_EDGE) && (lines & MSR_RI))
        changed &= (uint8_t)~MSR_RI_EDGE;
    uart->msr = lines | (uart->msr & MSR_DELTAS) | changed;
}

static uint8_t read_data(Uart *uart)
{
    if (!uart->receive.count)
        return 0;
    uint8_t byte = pop(&uart->receive);
    if (!uart->receive.count)
        uart->lsr &= (uint8_t)~(LSR_DATA | LSR_BREAK);
    arm_timeout(uart);
    tell_room(uart);
    return byte;
}

static uint8_t read_iir(Uart *uart)
{
    uint8_t iir = identify(uart);
    if (iir == IIR_TRANSMIT)
        uart->transmit_interrupt = false;
    return iir | (uart->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
    Uart *uart = opaque;
    uint8_t value = 0;
    bool dlab = uart->lcr & LCR_DLAB;
    switch (offset) {
    case RBR_THR:
        value = dlab ? (uint8_t)uart->divisor : read_data(uart);
        break;
    case IER:
        value = dlab ? (uint8_t)(uart->divisor >> 8) : uart->ier;
        break;
    case IIR_FCR:
        value = read_iir(uart);
        break;
    case LCR:
        value = uart->lcr;
        break;
    case MCR:
        value = uart->mcr;
        break;
    case LSR:
        value = uart->lsr;
        uart->lsr &= (uint8_t)~(LSR_OVERRUN | LSR_BREAK);
        break;
    case MSR:
        value = uart->msr;
        uart->msr &= (uint8_t)~MSR_DELTAS;
        break;
    case SCR:
        value = uart->scr;
        break;
    }
    update_irq(uart);
    return value;
}

static void write_ier(Uart *uart, uint8_t value)
{
    // Enabling the transmit interrupt with an empty register raises it (8.6.4).
    if ((value & IER_TRANSMIT) && !(uart->ier & IER_TRANSMIT) && (uart->lsr & LSR_THR_EMPTY))
        uart->transmit_interrupt = true;
    uart->ier = value & 0x0f;
}

static void write_fcr(Uart *uart, uint8_t value)
{
    bool changed = (value ^ uart->fcr) & FCR_ENABLE;
    if (changed || ((value & FCR_ENABLE) && (value & FCR_CLEAR_RECEIVE))) {
        uart->receive = (Fifo){ 0 };
        uart->lsr &= (uint8_t)~(LSR_DATA | LSR_BREAK);
        arm_timeout(uart);
    }
    if (changed || ((value & FCR_ENABLE) && (value & FCR_CLEAR_TRANSMIT))) {
        uart->transmit = (Fifo){ 0 };
        drain(uart);
    }
    uart->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
    tell_room(uart);
}

static void write_mcr(Uart *uart, uint8_t value)
{
    bool left_loop = (uart->mcr & MCR_LOOP) && !(value & MCR_LOOP);
    uart->mcr = value & 0x1f;
    update_modem(uart);
    if (left_loop)
        tell_room(uart);
}

static void uart_write(void *opaque, uint64_t offset, unsigned size, uint64_t wide)
{
    Uart *uart = opaque;
    uint8_t value = (uint8_t)wide;
    bool dlab = uart->lcr & LCR_DLAB;
    switch (offset) {
    case RBR_THR:
        if (dlab)
            uart->divisor = (uart->divisor & 0xff00) | value;
        else
            send(uart, value);
        break;
    case IER:
        if (dlab)
            uart->divisor = (uint16_t)(value << 8 | (uart->divisor & 0xff));
        else
            write_ier(uart, value);
        break;
    case IIR_FCR:
        write_fcr(uart, value);
        break;
    case LCR:
        uart->lcr = value;
        break;
    case MCR:
        write_mcr(uart, value);
        break;
    case SCR:
        uart->scr = value;
        break;
    default: // LSR and MSR: factory test bits
        break;
    }
    update_irq(uart);
}

static const BusOps uart_ports = { uart_read, uart_write, 1 };

static void *uart_create(const void *config, const DeviceHost *host, GError **error)
{
    Uart *uart = g_new0(Uart, 1);
    uart->host = *host;
    uart->config = *(const Uart16550Config *)config;
    uart->timeout_timer = timer_new(host->clock, timeout_expired, uart);
    uart->retry_timer = timer_new(host->clock, retry_expired, uart);
    uart->region = bus_add_ports(host->bus, uart_16550_ops.name, uart->config.port, 8, &uart_ports,
                                 uart, &uart->engaged);
    const CharBackend *backend = uart->config.backend;
    CharFrontend frontend = { frontend_can_receive, frontend_receive, uart };
    if (backend && backend->attach)
        backend->attach(backend->opaque, &frontend);
    return uart;
}

static void uart_reset(void *device, ResetKind kind)
{
    Uart *uart = device;
    timer_cancel(uart->timeout_timer);
    timer_cancel(uart->retry_timer);
    uart->ier = uart->fcr = uart->lcr = uart->mcr = 0;
    uart->lsr = LSR_THR_EMPTY | LSR_IDLE;
    uart->divisor = 12; // 9600 baud; undefined in the data sheet
    uart->transmit_interrupt = uart->timeout = false;
    uart->retries = 0;
    uart->receive = uart->transmit = (Fifo){ 0 };
    update_modem(uart);
    uart->msr &= (uint8_t)~MSR_DELTAS;
    update_irq(uart);
}

static void uart_pre_save(void *device)
{
    Uart *uart = device;
    uart->timeout_deadline = timer_deadline(uart->timeout_timer);
    uart->retry_deadline = timer_deadline(uart->retry_timer);
}

static void restore_timer(Timer *timer, int64_t deadline)
{
    timer_cancel(timer);
    if (deadline >= 0)
        timer_arm(timer, deadline);
}

static gboolean uart_post_load(void *device, GError **error)
{
    Uart *uart = device;
    if (uart->receive.count > FIFO_SIZE || uart->transmit.count > FIFO_SIZE ||
        uart->receive.head >= FIFO_SIZE || uart->transmit.head >= FIFO_SIZE) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'uart-16550': a FIFO holds more than it can");
        return FALSE;
    }
    restore_timer(uart->timeout_timer, uart->timeout_deadline);
    restore_timer(uart->retry_timer, uart->retry_deadline);
    update_irq(uart);
    return TRUE;
}

static void uart_destroy(void *device)
{
    Uart *uart = device;
    if (!uart)
        return;
    if (uart->config.backend && uart->config.backend->attach)
        uart->config.backend->attach(uart->config.backend->opaque, NULL);
    bus_remove(uart->host.bus, uart->region);
    timer_free(uart->timeout_timer);
    timer_free(uart->retry_timer);
    g_free(uart);
}

static const StateField uart_fields[] = {
    STATE_SCALAR(Uart, ier, STATE_U8),
    STATE_SCALAR(Uart, fcr, STATE_U8),
    STATE_SCALAR(Uart, lcr, STATE_U8),
    STATE_SCALAR(Uart, mcr, STATE_U8),
    STATE_SCALAR(Uart, lsr, STATE_U8),
    STATE_SCALAR(Uart, msr, STATE_U8),
    STATE_SCALAR(Uart, scr, STATE_U8),
    STATE_SCALAR(Uart, divisor, STATE_U16),
    STATE_SCALAR(Uart, transmit_interrupt, STATE_BOOL),
    STATE_SCALAR(Uart, timeout, STATE_BOOL),
    STATE_SCALAR(Uart, retries, STATE_U8),
    STATE_ARRAY(Uart, receive.bytes, STATE_U8),
    STATE_SCALAR(Uart, receive.head, STATE_U8),
    STATE_SCALAR(Uart, receive.count, STATE_U8),
    STATE_ARRAY(Uart, transmit.bytes, STATE_U8),
    STATE_SCALAR(Uart, transmit.head, STATE_U8),
    STATE_SCALAR(Uart, transmit.count, STATE_U8),
    STATE_SCALAR(Uart, timeout_deadline, STATE_U64),
    STATE_SCALAR(Uart, retry_deadline, STATE_U64),
};

static const StateTable uart_state = {
    .name = "uart-16550",
    .version = 1,
    .fields = uart_fields,
    .field_count = G_N_ELEMENTS(uart_fields),
    .post_load = uart_post_load,
    .pre_save = uart_pre_save,
};

const DeviceOps uart_16550_ops = {
    .name = "uart-16550",
    .spec = "National Semiconductor TL/C/8652 PC16550D",
    .create = uart_create,
    .reset = uart_reset,
    .state = &uart_state,
    .destroy = uart_destroy,
};

// SPDX-License-Identifier: GPL-2.0-or-later
// Power management of the 82371AB (PIIX4), function 3: the ACPI event, control, timer and
// general-purpose registers, the APM control ports, and an SMBus host with nothing on its bus. No
// SMI is ever generated; APMC_EN reads as set, by which SeaBIOS knows to leave SMM alone. Follows
// Intel 290562 (82371AB), chapter 7, and ACPI 6.4, section 4.8.
#include "engine/devices/chipset/acpi-pm.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>

#define TIMER_HZ       3579545
#define TIMER_TOP      (INT64_C(1) << 23) // TMR_STS is set whenever bit 23 toggles
#define SCI_IRQ        9
#define APM_PORT       0xb2

// Configuration registers (7.1).
enum {
    REGISTER_PMBA = 0x40,
    REGISTER_DEVACTB = 0x58,
    REGISTER_PMREGMISC = 0x80, // bit 0: PM I/O space is decoded
    REGISTER_SMBBA = 0x90,
    REGISTER_SMBHSTCFG = 0xd2, // bit 0: SMBus host is decoded
};
#define DEVACTB_APMC_EN 0x02000000u

// PM1 status and enable bits (ACPI 4.8.3.1).
enum {
    PM1_TIMER = 1 << 0,
    PM1_GLOBAL = 1 << 5,
    PM1_BUTTON = 1 << 8,
    PM1_RTC = 1 << 10,
    PM1_WAKE = 1 << 15,
    PM1_ENABLES = PM1_TIMER | PM1_GLOBAL | PM1_BUTTON | PM1_RTC,
    CONTROL_SCI_EN = 1 << 0,
    CONTROL_GBL_RLS = 1 << 2,
    CONTROL_SLP_EN = 1 << 13,
};

// SMBus host registers (7.3): status bits.
enum { SMB_INTERRUPT = 1 << 1, SMB_DEVICE_ERROR = 1 << 2, SMB_START = 1 << 6 };

typedef struct {
    PciDevice pci;
    DeviceHost host;
    BusRegion *pm_region, *smb_region, *apm_region;
    Timer *timer;
    int64_t deadline;      // of the timer, as saved
    int64_t next_toggle;   // PM timer tick at which bit 23 changes next
    uint16_t pm1_status, pm1_enable, pm1_control;
    uint16_t gpe_status, gpe_enable;
    uint32_t scratch[16];  // registers of the PM block that only hold what is written
    uint8_t smb[16];
    uint8_t apm_control, apm_status;
    bool sci;
} AcpiPm;

static int64_t ticks_now(const AcpiPm *pm)
{
    return (int64_t)((__int128)clock_now(pm->host.clock) * TIMER_HZ / NS_PER_SECOND);
}

static int64_t ns_of_tick(int64_t tick)
{
    return (int64_t)(((__int128)tick * NS_PER_SECOND + TIMER_HZ - 1) / TIMER_HZ);
}

static void refresh_timer_status(AcpiPm *pm)
{
    int64_t now = ticks_now(pm);
    if (now >= pm->next_toggle) {
        pm->pm1_status |= PM1_TIMER;
        pm->next_toggle = (now / TIMER_TOP + 1) * TIMER_TOP;
    }
}

static void update_sci(AcpiPm *pm)
{
    refresh_timer_status(pm);
    bool sci = (pm->pm1_control & CONTROL_SCI_EN) &&
               ((pm->pm1_status & pm->pm1_enable & PM1_ENABLES) ||
                (pm->gpe_status & pm->gpe_enable));
    if (sci != pm->sci) {
        pm->sci = sci;
        irq_set(&pm->host.isa_irq[SCI_IRQ], sci);
    }
    if ((pm->pm1_enable & PM1_TIMER) && !(pm->pm1_status & PM1_TIMER))
        timer_arm(pm->timer, ns_of_tick(pm->next_toggle));
    else
        timer_cancel(pm->timer);
}

static void timer_expired(void *opaque)
{
    update_sci(opaque);
}

static void write_control(AcpiPm *pm, uint16_t value)
{
    // SLP_EN and GBL_RLS are write-only. SCI_EN is the firmware's, by its SMI command; whoever
    // sets it here gets it too.
    pm->pm1_control = value & (uint16_t)~(CONTROL_SLP_EN | CONTROL_GBL_RLS);
    if (!(value & CONTROL_SLP_EN))
        return;
    switch (value >> 10 & 7) {
    case ACPI_PM_SLEEP_S3:
        if (pm->host.request_sleep)
            pm->host.request_sleep(pm->host.request_opaque);
        break;
    case ACPI_PM_SLEEP_S5:
    case ACPI_PM_SLEEP_S4:
        if (pm->host.request_power_off)
            pm->host.request_power_off(pm->host.request_opaque);
        break;
    default:
        break;
    }
}

// Registers of 16 bits within the PM block, or NULL.
static uint16_t *pm_word(AcpiPm *pm, unsigned offset)
{
    switch (offset) {
    case ACPI_PM_EVENT:
        return &pm->pm1_status;
    case ACPI_PM_EVENT + 2:
        return &pm->pm1_enable;
    case ACPI_PM_CONTROL:
        return &pm->pm1_control;
    case ACPI_PM_GPE0:
        return &pm->gpe_status;
    case ACPI_PM_GPE0 + 2:
        return &pm->gpe_enable;
    default:
        return NULL;
    }
}

static uint8_t pm_read_byte(AcpiPm *pm, unsigned offset)
{
    const uint16_t *word = pm_word(pm, offset & ~1u);
    if (word)
        return (uint8_t)(*word >> (offset & 1) * 8);
    if (offset >= ACPI_PM_TIMER && offset < ACPI_PM_TIMER + 4)
        return (uint8_t)((ticks_now(pm) & (2 * TIMER_TOP - 1)) >> (offset & 3) * 8);
    return (uint8_t)(pm->scratch[offset / 4 & 15] >> (offset & 3) * 8);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    AcpiPm *pm = opaque;
    // The timer as a whole comes from one look at the clock.
    if (offset == ACPI_PM_TIMER && size == 4)
        return (uint64_t)ticks_now(pm) & (2 * TIMER_TOP - 1);
    refresh_timer_status(pm);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)pm_read_byte(pm, (unsigned)offset + i) << i * 8;
    return value;
}

static void pm_write_word(AcpiPm *pm, unsigned offset, uint16_t value, uint16_t mask)
{
    switch (offset) {
    case ACPI_PM_EVENT:
        pm->pm1_status &= (uint16_t)~(value & mask);
        break;
    case ACPI_PM_EVENT + 2:
        pm->pm1_enable = (uint16_t)((pm->pm1_enable & ~mask) | (value & mask)) & PM1_ENABLES;
        break;
    case ACPI_PM_CONTROL:
        write_control(pm, (uint16_t)((pm->pm1_control & ~mask) | (value & mask)));
        break;
    case ACPI_PM_GPE0:
        pm->gpe_status &= (uint16_t)~(value & mask);
        break;
    case ACPI_PM_GPE0 + 2:
        pm->gpe_enable = (uint16_t)((pm->gpe_enable & ~mask) | (value & mask));
        break;
    default:
        break;
    }
}

static void pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    AcpiPm *pm = opaque;
    refresh_timer_status(pm);
    for (unsigned i = 0; i < size;) {
        unsigned at = (unsigned)offset + i;
        uint16_t part = (uint16_t)(value >> i * 8 & 0xff), mask = 0xff;
        unsigned step = 1;
        if (at & 1) {
            part = (uint16_t)(part << 8);
            mask = 0xff00;
        } else if (size - i >= 2) {
            part = (uint16_t)(value >> i * 8);
            mask = 0xffff;
            step = 2;
        }
        if (pm_word(pm, at & ~1u)) {
            pm_write_word(pm, at & ~1u, part, mask);
        } else if (at / 4 != ACPI_PM_TIMER / 4) {
            uint32_t *word = &pm->scratch[at / 4 & 15];
            unsigned shift = (at & 2) * 8;
            *word = (*word & ~((uint32_t)mask << shift)) | (uint32_t)(part & mask) << shift;
        }
        i += step;
    }
    update_sci(pm);
}

static uint64_t smb_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((AcpiPm *)opaque)->smb[offset & 15];
}

static void smb_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    AcpiPm *pm = opaque;
    if (offset == 0) { // host status: write 1 to clear
        pm->smb[0] &= (uint8_t)~value;
    } else if (offset == 2) {
        pm->smb[2] = (uint8_t)value & (uint8_t)~SMB_START;
        // Nobody acknowledges any address: the transaction ends at once with an error.
        if (value & SMB_START)
            pm->smb[0] = SMB_INTERRUPT | SMB_DEVICE_ERROR;
    } else if (offset != 1) {
        pm->smb[offset & 15] = (uint8_t)value;
    }
}

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
    AcpiPm *pm = opaque;
    return offset ? pm->apm_status : pm->apm_control;
}

static void apm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    AcpiPm *pm = opaque;
    if (offset) {
        pm->apm_status = (uint8_t)value;
        return;
    }
    pm->apm_control = (uint8_t)value;
    if (value == ACPI_PM_ENABLE)
        pm->pm1_control |= CONTROL_SCI_EN;
    else if (value == ACPI_PM_DISABLE)
        pm->pm1_control &= (uint16_t)~CONTROL_SCI_EN;
    update_sci(pm);
}

static const BusOps pm_ports = { pm_read, pm_write, 4 };
static const BusOps smb_ports = { smb_read, smb_write, 1 };
static const BusOps apm_ports = { apm_read, apm_write, 1 };

static void map_regions(AcpiPm *pm)
{
    const uint8_t *c = pm->pci.config;
    uint16_t pm_base = le16_read(c + REGISTER_PMBA) & 0xffc0;
    uint16_t smb_base = le16_read(c + REGISTER_SMBBA) & 0xfff0;
    bus_move(pm->host.bus, pm->pm_region, pm_base, (c[REGISTER_PMREGMISC] & 1) && pm_base);
    bus_move(pm->host.bus, pm->smb_region, smb_base, (c[REGISTER_SMBHSTCFG] & 1) && smb_base);
}

static void config_written(void *device, unsigned offset, unsigned size)
{
    map_regions(device);
}

static void *acpi_pm_create(const void *config, const DeviceHost *host, GError **error)
{
    static const PciConfig identity = {
        .name = "acpi-pm", .devfn = PCI_DEVFN(1, 3), .vendor = 0x8086, .device = 0x7113,
        .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .revision = 3, .class_code = 0x068000,
        .interrupt_pin = 1,
    };
    AcpiPm *pm = g_new0(AcpiPm, 1);
    pm->host = *host;
    if (!pci_add(host->pci, &pm->pci, &identity, pm, error)) {
        g_free(pm);
        return NULL;
    }
    memset(pm->pci.write_mask + 0x40, 0xff, 0xd7 - 0x40);
    le32_write(pm->pci.write_mask + REGISTER_PMBA, 0x0000ffc0);
    le32_write(pm->pci.write_mask + REGISTER_SMBBA, 0x0000fff0);
    pm->pci.write_mask[0xd6] = 0; // SMBus revision
    pm->pci.config_written = config_written;
    pm->timer = timer_new(host->clock, timer_expired, pm);
    const char *name = acpi_pm_ops.name;
    // Both are born at the last ports and hidden until firmware places them.
    pm->pm_region = bus_add_ports(host->bus, name, 0xffc0, 64, &pm_ports, pm, &pm->pci.engaged);
    bus_move(host->bus, pm->pm_region, 0, false);
    pm->smb_region = bus_add_ports(host->bus, name, 0xfff0, 16, &smb_ports, pm, &pm->pci.engaged);
    bus_move(host->bus, pm->smb_region, 0, false);
    pm->apm_region = bus_add_ports(host->bus, name, APM_PORT, 2, &apm_ports, pm, &pm->pci.engaged);
    return pm;
}

static void acpi_pm_reset(void *device, ResetKind kind)
{
    AcpiPm *pm = device;
    pci_reset(&pm->pci);
    memset(pm->pci.config + 0x40, 0, 0xd7 - 0x40);
    le16_write(pm->pci.config + 6, 0x0280);
    pm->pci.config[0x3c] = SCI_IRQ;
    pm->pci.config[REGISTER_PMBA] = 1;
    pm->pci.config[REGISTER_SMBBA] = 1;
    le32_write(pm->pci.config + REGISTER_DEVACTB, DEVACTB_APMC_EN);
    pm->pm1_status = pm->pm1_enable = pm->pm1_control = 0;
    pm->gpe_status = pm->gpe_enable = 0;
    pm->apm_control = pm->apm_status = 0;
    memset(pm->scratch, 0, sizeof pm->scratch);
    memset(pm->smb, 0, sizeof pm->smb);
    pm->next_toggle = (ticks_now(pm) / TIMER_TOP + 1) * TIMER_TOP;
    map_regions(pm);
    update_sci(pm);
}

static void acpi_pm_pre_save(void *device)
{
    AcpiPm *pm = device;
    pm->deadline = timer_deadline(pm->timer);
}

static gboolean acpi_pm_post_load(void *device, GError **error)
{
    AcpiPm *pm = device;
    if (pm->next_toggle < 0 || pm->next_toggle % TIMER_TOP) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'acpi-pm': the timer's next toggle is impossible");
        return FALSE;
    }
    pm->pm1_enable &= PM1_ENABLES;
    pci_restore(&pm->pci);
    map_regions(pm);
    irq_set(&pm->host.isa_irq[SCI_IRQ], pm->sci);
    timer_cancel(pm->timer);
    if (pm->deadline >= 0)
        timer_arm(pm->timer, pm->deadline);
    return TRUE;
}

static void acpi_pm_destroy(void *device)
{
    AcpiPm *pm = device;
    if (!pm)
        return;
    timer_free(pm->timer);
    bus_remove(pm->host.bus, pm->pm_region);
    bus_remove(pm->host.bus, pm->smb_region);
    bus_remove(pm->host.bus, pm->apm_region);
    pci_remove(&pm->pci);
    g_free(pm);
}

static const StateField acpi_pm_fields[] = {
    PCI_STATE_FIELDS(AcpiPm, pci),
    STATE_SCALAR(AcpiPm, deadline, STATE_U64),
    STATE_SCALAR(AcpiPm, next_toggle, STATE_U64),
    STATE_SCALAR(AcpiPm, pm1_status, STATE_U16),
    STATE_SCALAR(AcpiPm, pm1_enable, STATE_U16),
    STATE_SCALAR(AcpiPm, pm1_control, STATE_U16),
    STATE_SCALAR(AcpiPm, gpe_status, STATE_U16),
    STATE_SCALAR(AcpiPm, gpe_enable, STATE_U16),
    STATE_ARRAY(AcpiPm, scratch, STATE_U32),
    STATE_ARRAY(AcpiPm, smb, STATE_U8),
    STATE_SCALAR(AcpiPm, apm_control, STATE_U8),
    STATE_SCALAR(AcpiPm, apm_status, STATE_U8),
    STATE_SCALAR(AcpiPm, sci, STATE_BOOL),
};

static const StateTable acpi_pm_state = {
    .name = "acpi-pm",
    .version = 1,
    .fields = acpi_pm_fields,
    .field_count = G_N_ELEMENTS(acpi_pm_fields),
    .post_load = acpi_pm_post_load,
    .pre_save = acpi_pm_pre_save,
};

const DeviceOps acpi_pm_ops = {
    .name = "acpi-pm",
    .spec = "Intel 290562 82371AB, chapter 7; ACPI 6.4, section 4.8",
    .create = acpi_pm_create,
    .reset = acpi_pm_reset,
    .state = &acpi_pm_state,
    .destroy = acpi_pm_destroy,
};

void acpi_pm_power_button(void *device)
{
    AcpiPm *pm = device;
    pm->pm1_status |= PM1_BUTTON;
    update_sci(pm);
}

void acpi_pm_wake(void *device, bool by_button)
{
    AcpiPm *pm = device;
    pm->pm1_status |= PM1_WAKE | (by_button ? PM1_BUTTON : 0);
    update_sci(pm);
}

void acpi_pm_general_event(void *device, unsigned event)
{
    AcpiPm *pm = device;
    pm->gpe_status |= (uint16_t)(1 << (event & 15));
    update_sci(pm);
}

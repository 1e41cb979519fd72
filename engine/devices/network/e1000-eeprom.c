// SPDX-License-Identifier: GPL-2.0-or-later
// The 82540EM's EEPROM: 64 words behind a 4-wire Microwire port (EECD, SDM 5.5 and 13.4.3) and
// behind a read register (EERD, 13.4.4). Nothing that a guest writes is kept: the card's address
// is the machine's configuration.
#include "engine/devices/network/e1000-private.h"

#include "engine/base/bytes.h"

enum {
    EECD_SK = 1 << 0,
    EECD_CS = 1 << 1,
    EECD_DI = 1 << 2,
    EECD_DO = 1 << 3,
    EECD_FWE = 1 << 4, // flash writes disabled, as read
    EECD_REQ = 1 << 6,
    EECD_GNT = 1 << 7,
    EECD_PRES = 1 << 8,
    EERD_START = 1 << 0,
    EERD_DONE = 1 << 4,
    OPCODE_READ = 2,
    COMMAND_BITS = 9, // start bit, 2 of opcode, 6 of address
    WORD_CHECKSUM = 0x3f,
};

void e1000_eeprom_fill(E1000 *e, const uint8_t mac[6])
{
    uint16_t sum = 0;
    memset(e->eeprom, 0, sizeof e->eeprom);
    for (unsigned i = 0; i < 3; i++)
        e->eeprom[i] = le16_read(mac + i * 2);
    e->eeprom[0x0a] = 0x4408; // initialisation control 1, with its signature (5.6.7)
    e->eeprom[0x0b] = le16_read(e->pci.config + 0x2e);
    e->eeprom[0x0c] = le16_read(e->pci.config + 0x2c);
    e->eeprom[0x0d] = le16_read(e->pci.config + 2);
    e->eeprom[0x0e] = le16_read(e->pci.config);
    e->eeprom[0x0f] = 0x3040; // initialisation control 2
    for (unsigned i = 0; i < WORD_CHECKSUM; i++)
        sum = (uint16_t)(sum + e->eeprom[i]);
    e->eeprom[WORD_CHECKSUM] = (uint16_t)(0xbaba - sum);
}

// DO towards the next bit of the word that is being read; words follow each other.
static void shift_out(E1000 *e)
{
    E1000Microwire *m = &e->microwire;
    uint16_t word = e->eeprom[m->address % E1000_EEPROM_WORDS];
    m->data_out = word >> (15 - m->bits_out) & 1;
    if (++m->bits_out == 16) {
        m->bits_out = 0;
        m->address++;
    }
}

static void shift_in(E1000 *e, bool bit)
{
    E1000Microwire *m = &e->microwire;
    if (!m->bits_in && !bit)
        return; // waits for the start bit
    m->command = (uint16_t)(m->command << 1 | bit);
    if (++m->bits_in < COMMAND_BITS)
        return;
    m->reading = (m->command >> 6 & 3) == OPCODE_READ;
    m->address = m->command & (E1000_EEPROM_WORDS - 1);
    // A dummy 0 comes before the data; any other command shows "ready".
    m->data_out = !m->reading;
    m->bits_out = 0;
}

void e1000_eeprom_pins(E1000 *e, uint32_t eecd)
{
    E1000Microwire *m = &e->microwire;
    bool rising = (eecd & EECD_SK) && !(m->pins & EECD_SK);
    m->pins = (uint8_t)(eecd & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ));
    if (!(eecd & EECD_CS)) {
        uint8_t pins = m->pins;
        *m = (E1000Microwire){ .pins = pins, .data_out = 1 };
    } else if (rising) {
        if (m->bits_in < COMMAND_BITS)
            shift_in(e, eecd & EECD_DI);
        else if (m->reading)
            shift_out(e);
    }
}

uint32_t e1000_eeprom_eecd(const E1000 *e)
{
    const E1000Microwire *m = &e->microwire;
    return m->pins | (m->data_out ? EECD_DO : 0) | (m->pins & EECD_REQ ? EECD_GNT : 0) |
           EECD_FWE | EECD_PRES;
}

uint32_t e1000_eeprom_read(const E1000 *e, uint32_t eerd)
{
    uint32_t address = eerd >> 8 & 0xff;
    if (!(eerd & EERD_START))
        return eerd & 0xff00;
    uint32_t word = address < E1000_EEPROM_WORDS ? e->eeprom[address] : 0xffff;
    return word << 16 | address << 8 | EERD_DONE;
}

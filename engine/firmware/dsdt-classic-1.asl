// SPDX-License-Identifier: GPL-2.0-or-later
// The DSDT of board classic-1 (ACPI 6.4, sections 5 to 9 and 19): what stands on the board whatever
// the configuration is. CPUs come in an SSDT made at run time. Compiled by iasl at build time.
//
// acpi-tables.c patches the named DWords of the first block; their values here only make iasl
// choose the DWord form.
DefinitionBlock ("", "DSDT", 2, "LODGE", "CLASSIC1", 1)
{
    Name (\WMIN, 0x80000000) // first address of the PCI memory window
    Name (\HPTE, 0x7FFFFFF1) // HPET: 0Fh there, 0 absent
    Name (\COM1, 0x7FFFFFF2) // first UART
    Name (\COM2, 0x7FFFFFF3) // second UART
    Name (\FDCE, 0x7FFFFFF4) // floppy controller
    Name (\GENE, 0x7FFFFFF5) // generation ID

    // SLP_TYP of PIIX4 (290562-001, PMCNTRL): 0 is soft off.
    Name (\_S5, Package () { 0, 0, 0, 0 })

    // Which interrupt model the system uses: 0 PIC, 1 APIC.
    Name (\PICM, 0)
    Method (\_PIC, 1, NotSerialized)
    {
        PICM = Arg0
    }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)

            Name (RES0, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0x0000, 0x00FF, 0, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x000A0000, 0x000BFFFF, 0, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0, 0x80000000, 0xFEBFFFFF, 0, 0x7EC00000,,, WIN0)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (RES0, ^WIN0._MIN, MINA)
                CreateDWordField (RES0, ^WIN0._MAX, MAXA)
                CreateDWordField (RES0, ^WIN0._LEN, LENA)
                MINA = WMIN
                LENA = (MAXA - MINA) + 1
                Return (RES0)
            }

            // INTA# of slot S is PIRQ (S - 1) mod 4; the power management function (1.3) raises
            // the SCI instead. The board has slots 0 to 28.
            Method (_PRT, 0, Serialized)
            {
                Local4 = Package (116) {}
                Local0 = 0
                While (Local0 < 116)
                {
                    Local1 = Local0 >> 2
                    Local2 = (Local0 + Local1) & 3
                    Local3 = Package (4) { 0, 0, LNKD, 0 }
                    If (Local0 == 4)
                    {
                        Local3 = Package (4) { 0, 0, LNKS, 0 }
                    }
                    ElseIf (Local2 == 1)
                    {
                        Local3 = Package (4) { 0, 0, LNKA, 0 }
                    }
                    ElseIf (Local2 == 2)
                    {
                        Local3 = Package (4) { 0, 0, LNKB, 0 }
                    }
                    ElseIf (Local2 == 3)
                    {
                        Local3 = Package (4) { 0, 0, LNKC, 0 }
                    }
                    Local3 [0] = ((Local1 << 16) | 0xFFFF)
                    Local3 [1] = (Local0 & 3)
                    Local4 [Local0] = Local3
                    Local0++
                }
                Return (Local4)
            }

            // PIIX3: ISA bridge with the interrupt router (290550-002, PIRQRC at 60h to 63h: bits
            // 3:0 the IRQ, bit 7 off).
            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 4)
                Field (PIRQ, ByteAcc, NoLock, Preserve)
                {
                    PRQA, 8,
                    PRQB, 8,
                    PRQC, 8,
                    PRQD, 8
                }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0070, 0x0070, 1, 2)
                        IRQNoFlags () { 8 }
                    })
                }

                Device (KBD)
                {
                    Name (_HID, EisaId ("PNP0303"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0060, 0x0060, 1, 1)
                        IO (Decode16, 0x0064, 0x0064, 1, 1)
                        IRQNoFlags () { 1 }
                    })
                }

                Device (MOU)
                {
                    Name (_HID, EisaId ("PNP0F13"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IRQNoFlags () { 12 }
                    })
                }

                Device (FDC0)
                {
                    Name (_HID, EisaId ("PNP0700"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F2, 0x03F2, 0, 4)
                        IO (Decode16, 0x03F7, 0x03F7, 0, 1)
                        IRQNoFlags () { 6 }
                        DMA (Compatibility, NotBusMaster, Transfer8) { 2 }
                    })
                    // Drive A, a 1.44 MB drive; no others.
                    Name (_FDE, Buffer (20)
                    {
                        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00
                    })
                    Method (_STA, 0, NotSerialized)
                    {
                        Return (FDCE)
                    }
                }

                Device (UAR1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 1)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F8, 0x03F8, 0, 8)
                        IRQNoFlags () { 4 }
                    })
                    Method (_STA, 0, NotSerialized)
                    {
                        Return (COM1)
                    }
                }

                Device (UAR2)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 2)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x02F8, 0x02F8, 0, 8)
                        IRQNoFlags () { 3 }
                    })
                    Method (_STA, 0, NotSerialized)
                    {
                        Return (COM2)
                    }
                }

                Device (DMAC)
                {
                    Name (_HID, EisaId ("PNP0200"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0000, 0x0000, 0, 0x10)
                        IO (Decode16, 0x0081, 0x0081, 0, 0x0F)
                        IO (Decode16, 0x00C0, 0x00C0, 0, 0x20)
                        DMA (Compatibility, NotBusMaster, Transfer8) { 4 }
                    })
                }

                Device (PIC)
                {
                    Name (_HID, EisaId ("PNP0000"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0020, 0x0020, 0, 2)
                        IO (Decode16, 0x00A0, 0x00A0, 0, 2)
                        IO (Decode16, 0x04D0, 0x04D0, 0, 2)
                        IRQNoFlags () { 2 }
                    })
                }

                Device (PIT)
                {
                    Name (_HID, EisaId ("PNP0100"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0040, 0x0040, 0, 4)
                        IRQNoFlags () { 0 }
                    })
                }

                Device (SPKR)
                {
                    Name (_HID, EisaId ("PNP0800"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0061, 0x0061, 0, 1)
                    })
                }

                // Ports of the board itself: power management, SMBus, firmware debug console.
                Device (MBRD)
                {
                    Name (_HID, EisaId ("PNP0C02"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0092, 0x0092, 0, 1)
                        IO (Decode16, 0x00B2, 0x00B2, 0, 2)
                        IO (Decode16, 0x0402, 0x0402, 0, 1)
                        IO (Decode16, 0x0600, 0x0600, 0, 0x40)
                        IO (Decode16, 0x0700, 0x0700, 0, 0x10)
                    })
                }

                // The firmware configuration ports, under the interface's published identifier.
                Device (FWCF)
                {
                    Name (_HID, "QEMU0002")
                    Name (_STA, 0x0B)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0510, 0x0510, 1, 0x0C)
                    })
                }
            }
        }

        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400)
            })
            Method (_STA, 0, NotSerialized)
            {
                Return (HPTE)
            }
        }

        // Microsoft's "Virtual Machine Generation ID": ADDR is the low and the high half of the
        // ID's address. The second name is what ACPI's rules for _CID allow.
        Device (VGEN)
        {
            Name (_HID, "LODG0001")
            Name (_CID, Package (2) { "VM_Gen_Counter", "VMGENCTR" })
            Name (_DDN, "VM_Gen_Counter")
            Name (ADDR, Package (2) { 0xFEF00000, 0 })
            Method (_STA, 0, NotSerialized)
            {
                Return (GENE)
            }
        }

        // What a PCI interrupt wire can be routed to; the same numbers are IOAPIC pins.
        Name (CRSI, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared,,, IRQX) { 0 }
        })
        Method (LCRS, 1, Serialized)
        {
            CreateDWordField (CRSI, 5, IRQN)
            IRQN = 0
            If (!(Arg0 & 0x80))
            {
                IRQN = Arg0 & 0x0F
            }
            Return (CRSI)
        }
        Method (LSTA, 1, NotSerialized)
        {
            If (Arg0 & 0x80)
            {
                Return (0x09)
            }
            Return (0x0B)
        }

        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA) { Return (LSTA (^^PCI0.ISA.PRQA)) }
            Method (_DIS) { ^^PCI0.ISA.PRQA |= 0x80 }
            Method (_CRS) { Return (LCRS (^^PCI0.ISA.PRQA)) }
            Method (_SRS, 1, Serialized)
            {
                CreateDWordField (Arg0, 5, IRQN)
                ^^PCI0.ISA.PRQA = IRQN
            }
        }

        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 1)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA) { Return (LSTA (^^PCI0.ISA.PRQB)) }
            Method (_DIS) { ^^PCI0.ISA.PRQB |= 0x80 }
            Method (_CRS) { Return (LCRS (^^PCI0.ISA.PRQB)) }
            Method (_SRS, 1, Serialized)
            {
                CreateDWordField (Arg0, 5, IRQN)
                ^^PCI0.ISA.PRQB = IRQN
            }
        }

        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 2)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA) { Return (LSTA (^^PCI0.ISA.PRQC)) }
            Method (_DIS) { ^^PCI0.ISA.PRQC |= 0x80 }
            Method (_CRS) { Return (LCRS (^^PCI0.ISA.PRQC)) }
            Method (_SRS, 1, Serialized)
            {
                CreateDWordField (Arg0, 5, IRQN)
                ^^PCI0.ISA.PRQC = IRQN
            }
        }

        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 3)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA) { Return (LSTA (^^PCI0.ISA.PRQD)) }
            Method (_DIS) { ^^PCI0.ISA.PRQD |= 0x80 }
            Method (_CRS) { Return (LCRS (^^PCI0.ISA.PRQD)) }
            Method (_SRS, 1, Serialized)
            {
                CreateDWordField (Arg0, 5, IRQN)
                ^^PCI0.ISA.PRQD = IRQN
            }
        }

        // The SCI: always IRQ 9.
        Device (LNKS)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 4)
            Name (_STA, 0x0B)
            Name (SCIR, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 9 }
            })
            Method (_PRS) { Return (SCIR) }
            Method (_CRS) { Return (SCIR) }
            Method (_DIS) { }
            Method (_SRS, 1) { }
        }
    }

    // General-purpose event 5: the generation ID has changed.
    Scope (\_GPE)
    {
        Method (_E05, 0, NotSerialized)
        {
            Notify (\_SB.VGEN, 0x80)
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
// The instructions that the host does just as the guest would: guest and host are the same
// architecture. They are encoded again with the registers of the plan (host.h) and with the memory
// operand where emit-memory.c found it. There is no table of operands: Zydis says which field of
// the encoding holds which register, and what is read and written.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-select.h"

// A register operand in one field of the encoding.
typedef struct {
    bool present;
    bool high;   // AH CH DH BH
    bool byte;   // needs REX to mean SPL..DIL
    uint8_t guest, host;
    bool loads, stores; // demoted: moved from and to BtCpu.gpr
} Field;

typedef struct {
    Field reg, rm, vvvv, opcode;
    bool memory;
    HostMemory at;
} Operands;

bool bt_copy_known(const ZydisDecodedInstruction *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_ADD: case ZYDIS_MNEMONIC_OR: case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB: case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_XOR: case ZYDIS_MNEMONIC_CMP: case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_INC: case ZYDIS_MNEMONIC_DEC: case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT: case ZYDIS_MNEMONIC_MOV: case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX: case ZYDIS_MNEMONIC_MOVSXD: case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_CBW: case ZYDIS_MNEMONIC_CWDE: case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_CWD: case ZYDIS_MNEMONIC_CDQ: case ZYDIS_MNEMONIC_CQO:
    case ZYDIS_MNEMONIC_CMOVO: case ZYDIS_MNEMONIC_CMOVNO: case ZYDIS_MNEMONIC_CMOVB:
    case ZYDIS_MNEMONIC_CMOVNB: case ZYDIS_MNEMONIC_CMOVZ: case ZYDIS_MNEMONIC_CMOVNZ:
    case ZYDIS_MNEMONIC_CMOVBE: case ZYDIS_MNEMONIC_CMOVNBE: case ZYDIS_MNEMONIC_CMOVS:
    case ZYDIS_MNEMONIC_CMOVNS: case ZYDIS_MNEMONIC_CMOVP: case ZYDIS_MNEMONIC_CMOVNP:
    case ZYDIS_MNEMONIC_CMOVL: case ZYDIS_MNEMONIC_CMOVNL: case ZYDIS_MNEMONIC_CMOVLE:
    case ZYDIS_MNEMONIC_CMOVNLE: case ZYDIS_MNEMONIC_SETO: case ZYDIS_MNEMONIC_SETNO:
    case ZYDIS_MNEMONIC_SETB: case ZYDIS_MNEMONIC_SETNB: case ZYDIS_MNEMONIC_SETZ:
    case ZYDIS_MNEMONIC_SETNZ: case ZYDIS_MNEMONIC_SETBE: case ZYDIS_MNEMONIC_SETNBE:
    case ZYDIS_MNEMONIC_SETS: case ZYDIS_MNEMONIC_SETNS: case ZYDIS_MNEMONIC_SETP:
    case ZYDIS_MNEMONIC_SETNP: case ZYDIS_MNEMONIC_SETL: case ZYDIS_MNEMONIC_SETNL:
    case ZYDIS_MNEMONIC_SETLE: case ZYDIS_MNEMONIC_SETNLE: case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR: case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL: case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD: case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL: case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC: case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR: case ZYDIS_MNEMONIC_LZCNT: case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_POPCNT: case ZYDIS_MNEMONIC_ADCX: case ZYDIS_MNEMONIC_ADOX:
    case ZYDIS_MNEMONIC_ANDN: case ZYDIS_MNEMONIC_BEXTR: case ZYDIS_MNEMONIC_BLSI:
    case ZYDIS_MNEMONIC_BLSMSK: case ZYDIS_MNEMONIC_BLSR: case ZYDIS_MNEMONIC_BZHI:
    case ZYDIS_MNEMONIC_MULX: case ZYDIS_MNEMONIC_PDEP: case ZYDIS_MNEMONIC_PEXT:
    case ZYDIS_MNEMONIC_RORX: case ZYDIS_MNEMONIC_SARX: case ZYDIS_MNEMONIC_SHLX:
    case ZYDIS_MNEMONIC_SHRX: case ZYDIS_MNEMONIC_MOVBE: case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_CRC32: case ZYDIS_MNEMONIC_CLC: case ZYDIS_MNEMONIC_STC:
    case ZYDIS_MNEMONIC_CMC: case ZYDIS_MNEMONIC_LAHF: case ZYDIS_MNEMONIC_SAHF:
    case ZYDIS_MNEMONIC_NOP: case ZYDIS_MNEMONIC_PAUSE: case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_XADD: case ZYDIS_MNEMONIC_CMPXCHG: case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE: case ZYDIS_MNEMONIC_MFENCE: case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0: case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2: case ZYDIS_MNEMONIC_PREFETCHW:
        return true;
    default:
        return false;
    }
}

// What is known but has a form of its own, or one that this file does not encode.
static bool excluded(const BtGuestInsn *g)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    const ZydisDecodedOperand *o = g->decoded.operand;
    bool memory = g->memory != 0xff;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_BT: // a bit string has any length
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return memory && o[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_BSWAP:
        return insn->operand_width == 16;
    case ZYDIS_MNEMONIC_CMPXCHG: // AL is an operand of its own
        return memory && o[1].size == 8 && bt_general_register(o[1].reg.value) >= 20;
    case ZYDIS_MNEMONIC_LEA:
        return insn->address_width == 16;
    default:
        return false;
    }
}

static bool writes_whole(const ZydisDecodedInstruction *insn, unsigned size)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
        return size >= 32;
    default:
        return false;
    }
}

static bool take_field(const BtGuestInsn *g, const ZydisDecodedOperand *o, Operands *out)
{
    int number = bt_general_register(o->reg.value);
    if (number < 0)
        return false;
    Field field = { .present = true, .guest = (uint8_t)number, .host = (uint8_t)number };
    if (number >= 20) {
        field.high = true;
        field.host = (uint8_t)(number - 16);
    } else {
        field.host = (uint8_t)bt_host_of((unsigned)number);
        field.byte = o->size == 8 && number >= 4 && number < 8;
        if (field.host == HOST_NONE) {
            field.stores = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
            field.loads = !field.stores || (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) ||
                          !writes_whole(&g->decoded.insn, o->size);
        }
    }
    switch (o->encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG: out->reg = field; return true;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM: out->rm = field; return true;
    case ZYDIS_OPERAND_ENCODING_NDSNDD: out->vvvv = field; return true;
    case ZYDIS_OPERAND_ENCODING_OPCODE: out->opcode = field; return true;
    case ZYDIS_OPERAND_ENCODING_NONE: return number < 4 || number >= 20; // rAX rCX rDX rBX
    default: return false;
    }
}

static bool take_operands(const BtGuestInsn *g, Operands *out)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const ZydisDecodedOperand *o = &g->decoded.operand[i];
        switch (o->type) {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            if (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_FLAGS)
                break;
            if (!take_field(g, o, out))
                return false;
            break;
        case ZYDIS_OPERAND_TYPE_MEMORY:
            if (i != g->memory || o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
                return false;
            out->memory = true;
            break;
        default:
            break;
        }
    }
    return true;
}

static bool needs_rex(const Operands *o)
{
    const Field *fields[] = { &o->reg, &o->rm, &o->vvvv, &o->opcode };
    bool high_host = o->memory; // T1 or T2 is in it
    for (unsigned i = 0; i < 4; i++) {
        if (fields[i]->present)
            high_host |= fields[i]->byte || fields[i]->host >= 8 || fields[i]->host == HOST_NONE;
    }
    return high_host;
}

// xchg low, high: the instruction then names the low byte.
static void emit_swap(HostCode *c, const Field *field)
{
    unsigned low = field->guest - 20u;
    host_byte(c, 0x86);
    host_byte(c, 0xc0 | low << 3 | (low + 4));
}

static void emit_opcode(HostCode *c, const ZydisDecodedInstruction *insn, unsigned opcode)
{
    if (insn->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        host_byte(c, 0x0f);
    if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F38)
        host_byte(c, 0x38);
    else if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
        host_byte(c, 0x3a);
    host_byte(c, opcode);
}

static void emit_vex(HostCode *c, const ZydisDecodedInstruction *insn, const Operands *o,
                     unsigned rex)
{
    bool w = insn->raw.vex.W && insn->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    unsigned vvvv = o->vvvv.present ? o->vvvv.host : 0;
    host_byte(c, 0xc4);
    host_byte(c, (~rex & 7) << 5 | insn->raw.vex.m_mmmm);
    host_byte(c, (unsigned)w << 7 | (~vvvv & 15) << 3 | insn->raw.vex.L << 2 | insn->raw.vex.pp);
    host_byte(c, insn->opcode);
}

// MOV between the accumulator and a memory offset becomes an ordinary MOV.
static bool is_memory_offset(const ZydisDecodedInstruction *insn)
{
    return insn->mnemonic == ZYDIS_MNEMONIC_MOV && insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
           insn->opcode >= 0xa0 && insn->opcode <= 0xa3;
}

static unsigned host_opcode(const ZydisDecodedInstruction *insn)
{
    if (is_memory_offset(insn))
        return insn->opcode < 0xa2 ? 0x8a + (insn->opcode & 1u) : 0x88 + (insn->opcode & 1u);
    if (insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && insn->opcode == 0x82)
        return 0x80;
    return insn->opcode;
}

static void emit_legacy(HostCode *c, const BtGuestInsn *g, const Operands *o, unsigned rex)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    bool operand_size = false;
    if (insn->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        host_byte(c, 0xf0);
    for (unsigned i = 0; i < insn->raw.prefix_count; i++) {
        unsigned prefix = insn->raw.prefixes[i].value;
        bool mandatory = insn->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY;
        if (prefix == 0x66 && !operand_size) {
            operand_size = true;
            host_byte(c, prefix);
        } else if (mandatory && prefix != 0x66) {
            host_byte(c, prefix);
        }
    }
    bool long_mode = insn->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    if (long_mode && insn->raw.rex.W)
        rex |= 8;
    if (rex || needs_rex(o))
        host_byte(c, 0x40 | rex);
    unsigned opcode = host_opcode(insn);
    if (!long_mode && insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (opcode & 0xf0) == 0x40) {
        host_byte(c, 0xff); // INC, DEC: their short forms are REX prefixes here
        host_byte(c, 0xc0 | (opcode & 8) | (o->opcode.host & 7));
        return;
    }
    if (o->opcode.present)
        opcode = (opcode & ~7u) | (o->opcode.host & 7);
    emit_opcode(c, insn, opcode);
}

// The instruction itself; every register has its host register.
static void emit_instruction(HostCode *c, const BtGuestInsn *g, const Operands *o)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    bool vex = insn->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    unsigned reg = o->reg.present ? o->reg.host : is_memory_offset(insn) ? 0 : insn->raw.modrm.reg;
    unsigned low = o->rm.present ? o->rm.host : o->opcode.present ? o->opcode.host : 0;
    unsigned rex = (o->reg.present ? reg >> 3 & 1 : 0) << 2 |
                   (o->memory ? host_memory_rex(o->at) : low >> 3 & 1);
    if (vex)
        emit_vex(c, insn, o, rex);
    else
        emit_legacy(c, g, o, rex);
    if (o->memory)
        host_modrm(c, reg, o->at);
    else if (insn->attributes & ZYDIS_ATTRIB_HAS_MODRM)
        host_byte(c, 0xc0 | (reg & 7) << 3 | (o->rm.present ? low & 7 : insn->raw.modrm.rm));
    if (insn->raw.imm[0].size)
        host_bytes(c, g->decoded.bytes + insn->raw.imm[0].offset,
                   insn->length - insn->raw.imm[0].offset);
}

void bt_emit_hold(BtDraft *d, unsigned guest)
{
    if (d->held != guest)
        host_load(&d->code, 8, HOST_T3, BT_GPR_AT(guest));
    d->held = (uint8_t)guest;
}

static bool is_demoted(const Field *field)
{
    return field->present && field->host == HOST_NONE;
}

// Gives all fields of one demoted register its scratch register.
static void assign_guest(BtDraft *d, Field *const *fields, unsigned guest, bool *used)
{
    bool loads = false;
    for (unsigned i = 0; i < 4; i++)
        loads |= is_demoted(fields[i]) && fields[i]->guest == guest && fields[i]->loads;
    unsigned host = HOST_T3;
    if (d->held != guest && used[HOST_T3])
        host = used[HOST_T1] ? HOST_T2 : HOST_T1;
    if (host == HOST_T3) {
        if (loads)
            bt_emit_hold(d, guest);
        d->held = (uint8_t)guest;
    } else if (loads) {
        host_load(&d->code, 8, host, BT_GPR_AT(guest));
    }
    used[host] = true;
    for (unsigned i = 0; i < 4; i++) {
        if (is_demoted(fields[i]) && fields[i]->guest == guest)
            fields[i]->host = (uint8_t)host;
    }
}

// Gives demoted registers a scratch register each: T3 to the one that it holds already, or to one
// that is written.
static void assign_scratch(BtDraft *d, Operands *o)
{
    Field *const fields[] = { &o->reg, &o->rm, &o->vvvv, &o->opcode };
    unsigned wanted = 0;
    for (unsigned i = 0; i < 4; i++)
        wanted += is_demoted(fields[i]);
    if (!wanted)
        return;
    if (o->memory && wanted > 1) { // one register for the address
        host_lea(&d->code, 8, HOST_T1, o->at);
        o->at = host_based(HOST_T1, 0);
    }
    bool used[16] = { false };
    if (o->memory) {
        used[o->at.base] = true;
        if (o->at.index != HOST_NONE)
            used[o->at.index] = true;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (is_demoted(fields[i]) && fields[i]->guest == d->held)
            assign_guest(d, fields, fields[i]->guest, used);
    }
    for (unsigned i = 0; i < 4; i++) {
        if (is_demoted(fields[i]) && fields[i]->stores)
            assign_guest(d, fields, fields[i]->guest, used);
    }
    for (unsigned i = 0; i < 4; i++) {
        if (is_demoted(fields[i]))
            assign_guest(d, fields, fields[i]->guest, used);
    }
}

static void store_demoted(HostCode *c, const Operands *o)
{
    const Field *fields[] = { &o->reg, &o->rm, &o->vvvv, &o->opcode };
    for (unsigned i = 0; i < 4; i++) {
        if (fields[i]->present && fields[i]->stores)
            host_store(c, 8, BT_GPR_AT(fields[i]->guest), fields[i]->host);
    }
}

// ---- LEA: an address without an access ----

static bool emit_lea(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    HostCode *c = &d->code;
    BtInsn address = { .length = insn->length };
    bt_select_memory(&g->decoded.operand[1], &address);
    unsigned guest = (unsigned)bt_general_register(g->decoded.operand[0].reg.value);
    unsigned to = bt_host_of(guest);
    unsigned size = insn->operand_width / 8;
    bool demoted = to == HOST_NONE;
    if (demoted)
        to = HOST_T3;
    if (demoted && size == 2)
        bt_emit_hold(d, guest);
    if (insn->address_width == 32 && size == 8)
        size = 4; // the address is cut, the register zero-extended
    if (address.rip_relative) {
        uint64_t value = bt_draft_next_rip(d, g) + (uint64_t)g->decoded.operand[1].mem.disp.value;
        if (size == 2)
            return false;
        if (size == 8)
            bt_emit_of_rip(d, to, value);
        else
            host_load_constant(c, to, (uint32_t)value);
        d->unit->fixed |= size != 8;
    } else {
        HostMemory m = { .base = HOST_NONE, .index = HOST_NONE, .scale = address.scale,
                         .displacement = (int32_t)address.displacement };
        if (address.base != BT_REG_ZERO) {
            m.base = (uint8_t)bt_host_of(address.base);
            if (m.base == HOST_NONE && d->held == address.base) {
                m.base = HOST_T3;
            } else if (m.base == HOST_NONE) {
                host_load(c, 8, HOST_T1, BT_GPR_AT(address.base));
                m.base = HOST_T1;
            }
        }
        if (address.index != BT_REG_ZERO) {
            m.index = (uint8_t)bt_host_of(address.index);
            if (m.index == HOST_NONE && d->held == address.index) {
                m.index = HOST_T3;
            } else if (m.index == HOST_NONE) {
                host_load(c, 8, HOST_T2, BT_GPR_AT(address.index));
                m.index = HOST_T2;
            }
        }
        host_lea(c, size, to, m);
    }
    if (demoted) {
        host_store(c, 8, BT_GPR_AT(guest), to);
        d->held = (uint8_t)guest;
    }
    return true;
}

// ---- The emitter ----

bool bt_copy_is_nothing(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
        return true;
    default:
        return false;
    }
}

// ---- Immediates that are read when the instruction runs ----

bool bt_copy_takes_immediate(const BtGuestInsn *g, unsigned *ret_size)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (insn->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || g->memory != 0xff ||
        insn->operand_width < 32 || insn->raw.imm[0].size < 32 || insn->raw.imm[1].size)
        return false;
    bool accumulator = (insn->opcode & 0xc7) == 0x05; // ADD ... CMP
    bool moves = (insn->opcode & 0xf8) == 0xb8 || insn->opcode == 0xc7;
    int guest = bt_general_register(g->decoded.operand[0].reg.value);
    *ret_size = insn->raw.imm[0].size / 8;
    return (accumulator || moves || insn->opcode == 0x81) && guest >= 0 && guest < 16 &&
           bt_host_of((unsigned)guest) != HOST_NONE;
}

static void emit_with_read_immediate(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    HostCode *c = &d->code;
    unsigned size = insn->operand_width / 8;
    unsigned to = bt_host_of((unsigned)bt_general_register(g->decoded.operand[0].reg.value));
    unsigned offset = (unsigned)((int32_t)(d->unit->physical & 0xfff) + g->rip);
    host_load_constant(c, HOST_T1, (uintptr_t)(d->host + offset + insn->raw.imm[0].offset));
    HostMemory at = host_based(HOST_T1, 0);
    bool extends = size == 8 && insn->raw.imm[0].size == 32;
    if (extends)
        host_op_memory(c, 8, 0x63, HOST_T2, at); // movsxd
    bool moves = insn->mnemonic == ZYDIS_MNEMONIC_MOV;
    unsigned extension = insn->opcode == 0x81 ? insn->raw.modrm.reg : insn->opcode >> 3 & 7u;
    unsigned opcode = moves ? 0x8b : extension << 3 | 3;
    if (extends)
        host_op_registers(c, 8, opcode, to, HOST_T2);
    else
        host_op_memory(c, size, opcode, to, at);
}

static void end_flags(BtDraft *d, const Operands *o)
{
    if (d->flags == BT_FLAGS_NATIVE || !bt_flags_wanted_native(bt_draft_insn(d)))
        return;
    bool t1_free = o->at.base != HOST_T1;
    if (!t1_free)
        d->held = HOST_NONE;
    bt_emit_flags_end(d, t1_free ? HOST_T1 : HOST_T3);
}

bool bt_emit_copy(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (!g->known || !bt_copy_known(insn) || excluded(g))
        return false;
    if (bt_copy_is_nothing(insn->mnemonic))
        return true;
    if (insn->mnemonic == ZYDIS_MNEMONIC_LEA)
        return emit_lea(d);
    Operands o = { .at = { .base = HOST_NONE, .index = HOST_NONE } };
    if (!take_operands(g, &o))
        return false;
    if (g->varies) {
        emit_with_read_immediate(d);
        return true;
    }
    BtAccess access;
    if (o.memory && !bt_access_of_operand(d, g, g->memory, &access))
        return false;

    HostCode *c = &d->code;
    if (o.memory) {
        bt_emit_flags_begin(d);
        d->hold = true;
        bt_emit_access(d, &access, &o.at);
        d->hold = false;
        end_flags(d, &o);
    }
    Field *byte[2] = { NULL, NULL }; // high bytes that REX hides
    if (needs_rex(&o)) {
        if (o.reg.high)
            byte[0] = &o.reg;
        if (o.rm.high)
            byte[1] = &o.rm;
        if (o.opcode.high)
            byte[1] = &o.opcode;
    }
    if (o.memory && byte[0]) { // the address must not move with the register
        host_lea(c, 8, HOST_T1, o.at);
        o.at = host_based(HOST_T1, 0);
    }
    assign_scratch(d, &o);
    for (unsigned i = 0; i < 2; i++) {
        if (byte[i]) {
            emit_swap(c, byte[i]);
            byte[i]->host = (uint8_t)(byte[i]->guest - 20);
        }
    }
    emit_instruction(c, g, &o);
    for (unsigned i = 2; i-- > 0;) {
        if (byte[i])
            emit_swap(c, byte[i]);
    }
    store_demoted(c, &o);
    return true;
}

// SPDX-License-Identifier: GPL-2.0-or-later
// Boot sector and mode switches of a flat guest: a floppy or disk image whose first sector loads
// the rest to 10000h with INT 13h, then enters 32-bit protected mode with flat segments and, in a
// 64-bit guest, long mode with the first 4 GiB mapped by 2 MiB pages. Then guest_main is called.

    .code16
    .section .boot, "ax"
    .globl _start
_start:
    ljmp $0, $1f
1:  cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    movb %dl, drive
    movw $0x1000, %ax
    movw %ax, %es           // ES:0 is where the next sector goes
    sti
load_next:
    movw sector, %ax        // linear sector; the boot sector is 0
    cmpw $__sectors, %ax
    ja loaded
    testb $0x80, drive
    jz floppy
    movw %ax, packet_sector // a hard disk: by linear sector (EDD 3.0, function 42h)
    movw %es, packet_segment
    movw $packet, %si
    movb drive, %dl
    movb $0x42, %ah
    int $0x13
    jnc next
    jmp .
floppy:
    xorw %dx, %dx
    movw $18, %bx           // 1.44 MB: 18 sectors a track, 2 heads
    divw %bx
    movb %dl, %cl
    incb %cl                // sector 1..18
    movb %al, %dh
    andb $1, %dh            // head
    shrw $1, %ax
    movb %al, %ch           // cylinder
    movb drive, %dl
    xorw %bx, %bx
    movw $0x0201, %ax       // read one sector
    int $0x13
    jnc next
    movb drive, %dl
    xorw %ax, %ax
    int $0x13               // reset and try again
    decb tries
    jnz load_next
    jmp .
next:
    movw %es, %ax
    addw $0x20, %ax
    movw %ax, %es
    incw sector
    jmp load_next
loaded:
    movw $0x3f2, %dx        // floppy motor off: no late interrupts from it
    movb $0x0c, %al
    outb %al, %dx
    movb $0xff, %al         // nor from any device, until a guest wants them
    outb %al, $0x21
    outb %al, $0xa1
    ljmp $0x1000, $0        // start16, the first byte of the second part

drive:  .byte 0
tries:  .byte 5
sector: .word 1
packet: .byte 16, 0
    .word 1                 // one sector
    .word 0
packet_segment: .word 0
packet_sector: .long 0, 0

    .org 506
    .long 0                 // at 7DFAh: a number for the guest, from whoever starts it
    .word 0xaa55

    .section .start, "ax"
    .globl start16
start16:
    cli
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92         // A20 on
    movw $0x1000, %ax       // real-mode offsets end at FFFFh
    movw %ax, %ds
    data32 lgdt gdt_real_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    data32 ljmp $0x08, $start32

    .code32
start32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movl $__stack_top, %esp
    movl $__bss_start, %edi
    movl $__bss_end, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    cld
    rep stosb
#ifdef __x86_64__
    movl $boot_pdpt + 3, boot_pml4
    movl $boot_pd, %eax
    movl $4, %ecx
    movl $boot_pdpt, %edi
1:  leal 3(%eax), %edx
    movl %edx, (%edi)
    addl $0x1000, %eax
    addl $8, %edi
    loop 1b
    movl $boot_pd, %edi
    movl $2048, %ecx
    movl $0x83, %eax        // present, writable, 2 MiB
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    loop 1b
    movl %cr4, %eax
    orl $0x620, %eax        // PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax        // EFER.LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    andl $~4, %eax
    movl %eax, %cr0
    ljmp $0x18, $start64
    .code64
start64:
    movq $__stack_top, %rsp
    call guest_main
#else
    call guest_main
#endif
1:  hlt
    jmp 1b

    .balign 8
    .globl gdt
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff // 08: 32-bit code, ring 0, flat
    .quad 0x00cf93000000ffff // 10: data, ring 0
    .quad 0x00af9b000000ffff // 18: 64-bit code, ring 0
    .quad 0x00cffb000000ffff // 20: 32-bit code, ring 3
    .quad 0x00cff3000000ffff // 28: data, ring 3
    .quad 0x00affb000000ffff // 30: 64-bit code, ring 3
    .quad 0x00009b000000ffff // 38: 16-bit code, base 0
    .quad 0x000093000000ffff // 40: 16-bit data, base 0
    .fill 23, 8, 0           // 48..: the guest's own
gdt_end:
    .globl gdt_pointer
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
    .long 0
    .globl gdt_real_pointer
    .equ gdt_real_pointer, gdt_pointer - 0x10000

// Exception and interrupt entries, 256 of them, 16 bytes each: push an error code where the CPU
// does not, push the vector, go to the common part.
    .section .text
    .balign 16
    .globl entry_stubs
entry_stubs:
    vector = 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
    nop
    nop
    .else
    push $0
    .endif
    push $vector
    jmp entry_common
    vector = vector + 1
    .endr

#ifdef __x86_64__
entry_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    movq %rsp, %rbx
    andq $~15, %rsp
    cld
    call handle_entry
    movq %rbx, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

// bool guest_try(void (*body)(void)): runs body; a fault that nobody handles unwinds to here.
    .globl guest_try
guest_try:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, try_stack
    call *%rdi
    xorl %eax, %eax
    jmp try_end
    .globl try_unwind
try_unwind:
    movq try_stack, %rsp
    movl $1, %eax
try_end:
    movq $0, try_stack
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
#else
entry_common:
    pushal
    pushl %ds
    pushl %es
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %esp, %ebx
    pushl %ebx
    cld
    call handle_entry
    movl %ebx, %esp
    popl %es
    popl %ds
    popal
    addl $8, %esp
    iretl

    .globl guest_try
guest_try:
    movl 4(%esp), %eax
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, try_stack
    call *%eax
    xorl %eax, %eax
    jmp try_end
    .globl try_unwind
try_unwind:
    movl try_stack, %esp
    movl $1, %eax
try_end:
    movl $0, try_stack
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret
#endif

    .section .bss
    .balign 8
    .globl try_stack
try_stack: .quad 0
    .balign 4096
    .globl boot_pml4
boot_pml4: .fill 4096
    .globl boot_pdpt
boot_pdpt: .fill 4096
    .globl boot_pd
boot_pd:   .fill 16384

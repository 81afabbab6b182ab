//! Every form of every instruction that wide kernels use, against a disassembler.

use dl_codegen::x64::asm::{Asm, Base, Gpr, Label, Mask, Masked, Mem, Reg, Rm, Width};
use dl_codegen::x64::op::{self, Op, Tuple};
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction, Register};

fn decode(code: &[u8]) -> Instruction {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    assert!(!instruction.is_invalid(), "no instruction: {code:02x?}");
    assert_eq!(instruction.len(), code.len(), "{:?} in {code:02x?}", instruction.mnemonic());
    instruction
}

fn text(instruction: &Instruction) -> String {
    let mut out = String::new();
    GasFormatter::new().format(instruction, &mut out);
    out.to_lowercase()
}

/// The disassembler's name.
fn mnemonic(op: Op, evex: bool) -> String {
    let name = op.name.trim_end_matches("_TO").trim_end_matches("_GPR").to_lowercase();
    let name = match name.as_str() {
        "pandd" | "pord" | "pxord" if !evex => name[..name.len() - 1].to_string(),
        "rndscaleps" if !evex => "roundps".into(),
        "rndscalepd" if !evex => "roundpd".into(),
        "extractf32x4" if !evex => "extractf128".into(),
        _ => name,
    };
    if name.starts_with('k') { name } else { format!("v{name}") }
}

/// Instructions that exist with one of the encodings only, or with operands of other kinds than vectors.
fn only_evex(op: Op) -> bool {
    let name = op.name;
    name.starts_with("BLENDM")
        || name.contains("SCATTER")
        || name.ends_with("_GPR")
        || ["PCMPD", "PCMPQ", "PCMPUD", "PMULLQ", "PABSQ", "PMAXSQ", "PMINSQ", "PSRAQ", "PMOVDB", "PMOVQD"]
            .contains(&name)
        || ["CVTQQ2PS", "CVTQQ2PD", "SHUFF32X4", "EXTRACTF64X4", "INSERTF64X4", "SCALEFPS"].contains(&name)
        || name.starts_with('K')
}

fn only_vex(op: Op) -> bool {
    let name = op.name;
    name.starts_with("MASKMOV") || name.starts_with("BLENDV") || ["PCMPEQD", "PCMPGTD", "PERM2F128"].contains(&name)
}

fn has_immediate(op: Op) -> bool {
    op.digit.is_some() || op.map == 3 || ["CMPPS", "CMPPD", "PSHUFD"].contains(&op.name)
}

fn vector_operands(op: Op) -> bool {
    !op.name.starts_with('K')
        && !op.name.contains("GATHER")
        && !op.name.contains("SCATTER")
        && !op.name.ends_with("_GPR")
        && op.name != "MOVMSKPS"
}

fn stores(op: Op) -> bool {
    op.name.ends_with("_TO")
}

/// Two-operand instructions have no first source.
fn unary(op: Op) -> bool {
    let name = op.name;
    name.starts_with("MOV")
        || name.starts_with("BROADCAST")
        || name.starts_with("CVT")
        || name.starts_with("SQRT")
        || name.starts_with("RNDSCALE")
        || name.starts_with("PABS")
        || name.starts_with("PMOV")
        || name.starts_with("EXTRACT")
        || name == "PSHUFD"
        || op.digit.is_some()
}

fn encode(evex: bool, op: Op, width: Width, reg: u8, v: u8, rm: Rm, masked: Masked) -> Vec<u8> {
    let mut asm = Asm::new(evex);
    let immediate: &[u8] = if has_immediate(op) { &[0x10] } else { &[] };
    asm.vector(op, width, reg, v, rm, masked, immediate);
    asm.finish(Asm::new(evex))
}

fn number(r: Register) -> u8 {
    r.number() as u8
}

#[test]
fn vector_instructions_between_registers() {
    for evex in [false, true] {
        let widths = if evex { vec![Width::B32, Width::B64] } else { vec![Width::B32] };
        let most = if evex { 31 } else { 15 };
        for &op in op::ALL {
            let memory_only = stores(op) || op.name.starts_with("MASKMOV");
            if !vector_operands(op) || memory_only || if evex { only_vex(op) } else { only_evex(op) } {
                continue;
            }
            for &width in &widths {
                if width != Width::B64 && ["EXTRACTF64X4", "INSERTF64X4"].contains(&op.name) {
                    continue;
                }
                for (reg, v, rm) in [(1, 2, 3), (most, 8, 0), (0, most, 9), (7, 0, most), (most, most, most)] {
                    let to_mask = evex && ["CMPPS", "CMPPD", "PCMPD", "PCMPQ", "PCMPUD"].contains(&op.name);
                    let (reg, v) = (if to_mask { reg % 8 } else { reg }, if unary(op) { 0 } else { v });
                    let code = encode(evex, op, width, reg, v, Rm::Reg(Reg(rm)), Masked::default());
                    let i = decode(&code);
                    let what = format!("{} {width:?} {reg} {v} {rm}: {}", op.name, text(&i));
                    assert_eq!(format!("{:?}", i.mnemonic()).to_lowercase(), mnemonic(op, evex), "{what}");
                    let (first, last) = if op.reversed() { (rm, reg) } else { (reg, rm) };
                    assert_eq!(number(i.op0_register()), first, "{what}");
                    if unary(op) {
                        assert_eq!(number(i.op1_register()), last, "{what}");
                    } else {
                        assert_eq!((number(i.op1_register()), number(i.op2_register())), (v, last), "{what}");
                    }
                    // The widest operand has the width that was asked for, except for the 128-bit moves of scalars.
                    let size = [i.op0_register(), i.op1_register()].iter().map(|r| r.size()).max();
                    assert_eq!(size, Some(width.bytes()), "{what}");
                }
            }
        }
    }
}

#[test]
fn vector_instructions_with_memory() {
    let places = [
        Mem::at(Gpr(0), 0),
        Mem::at(Gpr(5), 0),
        Mem::at(Gpr(13), 64),
        Mem::at(Gpr(4), 128),
        Mem::at(Gpr(12), -192),
        Mem::at(Gpr(11), 68),
        Mem::at(Gpr(3), 100_000),
        Mem { base: Base::Gpr(Gpr(6)), index: Some((Gpr(9), 2)), disp: 256 },
        Mem { base: Base::Gpr(Gpr(13)), index: Some((Gpr(15), 3)), disp: -8192 },
        Mem { base: Base::Gpr(Gpr(5)), index: Some((Gpr(1), 0)), disp: 0 },
    ];
    for evex in [false, true] {
        let width = if evex { Width::B64 } else { Width::B32 };
        for &op in op::ALL {
            let no_memory = op.digit.is_some() && !evex || ["EXTRACTF32X4", "EXTRACTF64X4"].contains(&op.name);
            if !vector_operands(op) || no_memory || if evex { only_vex(op) } else { only_evex(op) } {
                continue;
            }
            for place in places {
                let v = if unary(op) { 0 } else { 6 };
                let splats = if evex && op.tuple == Tuple::Full { vec![false, true] } else { vec![false] };
                for splat in splats {
                    let rm = if splat { Rm::Splat(place) } else { Rm::Mem(place) };
                    let i = decode(&encode(evex, op, width, 3, v, rm, Masked::default()));
                    let what = format!("{} {place:?}: {}", op.name, text(&i));
                    assert_eq!(format!("{:?}", i.mnemonic()).to_lowercase(), mnemonic(op, evex), "{what}");
                    let Base::Gpr(base) = place.base else { unreachable!() };
                    assert_eq!(i.memory_base() as u32 - Register::RAX as u32, u32::from(base.0), "{what}");
                    assert_eq!(i.memory_displacement64() as i64 as i32, place.disp, "{what}");
                    match place.index {
                        None => assert_eq!(i.memory_index(), Register::None, "{what}"),
                        Some((index, shift)) => {
                            assert_eq!(i.memory_index() as u32 - Register::RAX as u32, u32::from(index.0), "{what}");
                            assert_eq!(i.memory_index_scale(), 1 << shift, "{what}");
                        }
                    }
                    assert_eq!(i.is_broadcast(), splat, "{what}");
                }
            }
        }
    }
}

#[test]
fn masks_and_gathers() {
    let masked = Masked { mask: 5, zero: true };
    let i = decode(&encode(true, op::ADDPS, Width::B64, 17, 30, Rm::Reg(Reg(9)), masked));
    assert_eq!(text(&i), "vaddps %zmm9,%zmm30,%zmm17{%k5}{z}");
    let i = decode(&encode(
        true,
        op::MOVUPS_TO,
        Width::B64,
        17,
        0,
        Rm::Mem(Mem::at(Gpr(6), 64)),
        Masked { mask: 3, zero: false },
    ));
    assert_eq!(text(&i), "vmovups %zmm17,0x40(%rsi){%k3}");
    let lanes = Rm::Lanes(Gpr(14), Reg(21), 0, 12);
    let i = decode(&encode(true, op::GATHERDPS, Width::B64, 30, 0, lanes, Masked { mask: 2, zero: false }));
    assert_eq!(text(&i), "vgatherdps 0xc(%r14,%zmm21),%zmm30{%k2}");
    let lanes = Rm::Lanes(Gpr(5), Reg(7), 0, 0);
    let i = decode(&encode(true, op::SCATTERDPD, Width::B64, 1, 0, lanes, Masked { mask: 2, zero: false }));
    assert_eq!(text(&i), "vscatterdpd %zmm1,(%rbp,%ymm7){%k2}");
    let expected = [
        (op::KANDW, 3, 4, "kandw %k5,%k4,%k3"),
        (op::KORW, 3, 4, "korw %k5,%k4,%k3"),
        (op::KXORW, 3, 4, "kxorw %k5,%k4,%k3"),
        (op::KUNPCKBW, 3, 4, "kunpckbw %k5,%k4,%k3"),
        (op::KNOTW, 3, 0, "knotw %k5,%k3"),
        (op::KMOVW, 3, 0, "kmovw %k5,%k3"),
        (op::KSHIFTRW, 3, 0, "kshiftrw $0x10,%k5,%k3"),
    ];
    for (op, reg, v, text_of) in expected {
        let i = decode(&encode(true, op, Width::B16, reg, v, Rm::Mask(Mask(5)), Masked::default()));
        assert_eq!(text(&i), text_of);
    }
    let i = decode(&encode(true, op::KMOVW_GPR, Width::B16, 3, 0, Rm::Gpr(Gpr(9)), Masked::default()));
    assert_eq!(text(&i), "kmovw %r9d,%k3");
    let i = decode(&encode(true, op::KMOVW_TO, Width::B16, 3, 0, Rm::Mem(Mem::at(Gpr(4), 64)), Masked::default()));
    assert_eq!(text(&i), "kmovw %k3,0x40(%rsp)");
    let i = decode(&encode(true, op::KMOVW_LANES, Width::B16, 9, 0, Rm::Mask(Mask(5)), Masked::default()));
    assert_eq!(text(&i), "kmovw %k5,%r9d");
    let i = decode(&encode(false, op::MOVMSKPS, Width::B32, 9, 0, Rm::Reg(Reg(13)), Masked::default()));
    assert_eq!(text(&i), "vmovmskps %ymm13,%r9d");
    let i = decode(&encode(true, op::PBROADCASTD_GPR, Width::B64, 29, 0, Rm::Gpr(Gpr(9)), Masked::default()));
    assert_eq!(text(&i), "vpbroadcastd %r9d,%zmm29");
    let i = decode(&encode(true, op::PBROADCASTQ_GPR, Width::B64, 2, 0, Rm::Gpr(Gpr(0)), Masked::default()));
    assert_eq!(text(&i), "vpbroadcastq %rax,%zmm2");
}

#[test]
fn general_instructions() {
    let check = |write: &dyn Fn(&mut Asm), expected: &str| {
        let mut asm = Asm::new(true);
        write(&mut asm);
        assert_eq!(text(&decode(&asm.finish(Asm::new(true)))), expected);
    };
    check(&|a| a.mov(Gpr(9), Gpr(1)), "mov %rcx,%r9");
    check(&|a| a.load(Gpr(1), Mem::at(Gpr(12), 8)), "mov 8(%r12),%rcx");
    check(&|a| a.store(Mem::at(Gpr(4), 1000), Gpr(15)), "mov %r15,0x3e8(%rsp)");
    check(&|a| a.set(Gpr(9), 0), "xor %r9d,%r9d");
    check(&|a| a.set(Gpr(0), -5), "mov $0xfffffffffffffffb,%rax");
    check(&|a| a.set(Gpr(10), 1 << 40), "movabs $0x10000000000,%r10");
    check(
        &|a| a.lea(Gpr(2), Mem { base: Base::Gpr(Gpr(13)), index: Some((Gpr(8), 3)), disp: 4 }),
        "lea 4(%r13,%r8,8),%rdx",
    );
    check(&|a| a.add(Gpr(4), -64), "add $0xffffffffffffffc0,%rsp");
    check(&|a| a.add(Gpr(14), 4096), "add $0x1000,%r14");
    check(&|a| a.add_mem(Mem::at(Gpr(4), 16), 300), "addq $0x12c,0x10(%rsp)");
    check(&|a| a.add_reg(Gpr(3), Gpr(11)), "add %r11,%rbx");
    check(&|a| a.sub_reg(Gpr(3), Gpr(11)), "sub %r11,%rbx");
    check(&|a| a.mul(Gpr(9), Gpr(2), 768), "imul $0x300,%rdx,%r9");
    check(&|a| a.cmp(Gpr(9), 1), "cmp $1,%r9");
    check(&|a| a.cmp_load(Gpr(2), Mem::at(Gpr(7), 8)), "cmp 8(%rdi),%rdx");
    check(&|a| a.push(Gpr(12)), "push %r12");
    check(&|a| a.pop(Gpr(3)), "pop %rbx");
    check(&|a| a.prefetch(Mem::at(Gpr(9), 512)), "prefetcht0 0x200(%r9)");
    check(&|a| a.vzeroupper(), "vzeroupper");
    check(&|a| a.ret(), "ret");
}

#[test]
fn jumps_constants_and_padding() {
    let mut asm = Asm::new(true);
    let c = asm.constant(&1.5f32.to_le_bytes());
    assert_eq!(c, asm.constant(&1.5f32.to_le_bytes()), "equal constants are there once");
    let wide = asm.constant(&[7; 64]);
    let done: Label = asm.label();
    asm.align(16);
    asm.jump_if(dl_codegen::x64::asm::Cond::Less, done);
    asm.v(op::ADDPS, Width::B64, Reg(1), Reg(2), Rm::Splat(Mem::constant(c)));
    asm.vi(op::CMPPS, Width::B64, Reg(1), Reg(2), Mem::constant(wide), 1);
    asm.place(done);
    asm.ret();
    let mut start = Asm::new(true);
    start.push(Gpr(3));
    let code = asm.finish(start);
    let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
    let all: Vec<Instruction> = decoder.iter().take(5).collect();
    assert_eq!(all[1].near_branch_target(), all[4].ip());
    let at = all[2].ip_rel_memory_address() as usize;
    assert_eq!(code[at..at + 4], 1.5f32.to_le_bytes());
    let at = all[3].ip_rel_memory_address() as usize;
    assert_eq!((at % 64, &code[at..at + 64]), (0, &[7u8; 64][..]));
}

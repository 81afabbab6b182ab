//! The vector instructions, one line each.

/// How much memory an operand covers, which scales short displacements with AVX-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuple {
    /// A register, or one element repeated.
    Full,
    /// A register.
    Bytes,
    Half,
    Quarter,
    /// One element.
    One,
}

/// A vector instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// As the disassembler calls it.
    pub name: &'static str,
    /// 1 for `0f`, 2 for `0f38`, 3 for `0f3a`.
    pub map: u8,
    /// 1 for `66`, 2 for `f3`, 3 for `f2`.
    pub prefix: u8,
    pub code: u8,
    /// Whether its elements have 64 bits.
    pub w: bool,
    /// The same bit in the encoding without AVX-512.
    pub vex_w: bool,
    pub tuple: Tuple,
    /// The operation, where it stands in place of a register.
    pub digit: Option<u8>,
    /// The length bits, where they do not depend on the width.
    pub length: Option<u8>,
    /// Encoded as without AVX-512 (masks).
    pub vex_only: bool,
}

const fn op(name: &'static str, prefix: u8, map: u8, code: u8) -> Op {
    let (w, vex_w, tuple) = (false, false, Tuple::Full);
    Op { name, map, prefix, code, w, vex_w, tuple, digit: None, length: None, vex_only: false }
}

impl Op {
    /// Elements of 64 bits.
    const fn wide(self) -> Op {
        Op { w: true, ..self }
    }

    /// The bit is set in both encodings.
    const fn w(self) -> Op {
        Op { w: true, vex_w: true, ..self }
    }

    const fn tuple(self, tuple: Tuple) -> Op {
        Op { tuple, ..self }
    }

    const fn digit(self, digit: u8) -> Op {
        Op { digit: Some(digit), ..self }
    }

    const fn mask(self, length: u8) -> Op {
        Op { vex_only: true, length: Some(length), ..self }
    }
}

macro_rules! ops {
    ($($name:ident = $prefix:literal $map:literal $code:literal $(. $method:ident ($($arg:expr),*))*;)*) => {
        $(pub const $name: Op = op(stringify!($name), $prefix, $map, $code)$(.$method($($arg),*))*;)*
        /// All instructions, for tests.
        pub const ALL: &[Op] = &[$($name),*];
    };
}

use Tuple::{Bytes, Half, One, Quarter};

ops! {
    // Moves. Loads and stores of 32-bit and 64-bit lanes.
    MOVUPS = 0 1 0x10.tuple(Bytes);
    MOVUPS_TO = 0 1 0x11.tuple(Bytes);
    MOVUPD = 1 1 0x10.tuple(Bytes).wide();
    MOVUPD_TO = 1 1 0x11.tuple(Bytes).wide();
    MOVAPS = 0 1 0x28.tuple(Bytes);
    BROADCASTSS = 1 2 0x18.tuple(One);
    BROADCASTSD = 1 2 0x19.tuple(One).wide();
    PBROADCASTD_GPR = 1 2 0x7c;
    PBROADCASTQ_GPR = 1 2 0x7c.wide();
    // Without AVX-512, for elements in memory that the mask selects.
    MASKMOVPS = 1 2 0x2c;
    MASKMOVPS_TO = 1 2 0x2e;
    MOVSS_TO = 2 1 0x11.tuple(One);
    MOVSD_TO = 3 1 0x11.tuple(One).wide();

    // Floats.
    ADDPS = 0 1 0x58;
    ADDPD = 1 1 0x58.wide();
    MULPS = 0 1 0x59;
    MULPD = 1 1 0x59.wide();
    SUBPS = 0 1 0x5c;
    SUBPD = 1 1 0x5c.wide();
    MINPS = 0 1 0x5d;
    MINPD = 1 1 0x5d.wide();
    DIVPS = 0 1 0x5e;
    DIVPD = 1 1 0x5e.wide();
    MAXPS = 0 1 0x5f;
    MAXPD = 1 1 0x5f.wide();
    SQRTPS = 0 1 0x51;
    SQRTPD = 1 1 0x51.wide();
    FMADD213PS = 1 2 0xa8;
    FMADD213PD = 1 2 0xa8.w();
    FMADD231PS = 1 2 0xb8;
    FMADD231PD = 1 2 0xb8.w();
    RNDSCALEPS = 1 3 0x08;
    RNDSCALEPD = 1 3 0x09.wide();
    SCALEFPS = 1 2 0x2c;
    CMPPS = 0 1 0xc2;
    CMPPD = 1 1 0xc2.wide();
    BLENDMPS = 1 2 0x65;
    BLENDMPD = 1 2 0x65.wide();
    BLENDVPS = 1 3 0x4a;
    BLENDVPD = 1 3 0x4b;

    // Integers and bits.
    PADDD = 1 1 0xfe;
    PADDQ = 1 1 0xd4.wide();
    PSUBD = 1 1 0xfa;
    PSUBQ = 1 1 0xfb.wide();
    PMULLD = 1 2 0x40;
    PMULLQ = 1 2 0x40.wide();
    PMULUDQ = 1 1 0xf4.wide();
    PANDD = 1 1 0xdb;
    PORD = 1 1 0xeb;
    PXORD = 1 1 0xef;
    PABSD = 1 2 0x1e;
    PABSQ = 1 2 0x1f.wide();
    PMAXSD = 1 2 0x3d;
    PMAXSQ = 1 2 0x3d.wide();
    PMINSD = 1 2 0x39;
    PMINSQ = 1 2 0x39.wide();
    PSLLD = 1 1 0x72.digit(6);
    PSRLD = 1 1 0x72.digit(2);
    PSRAD = 1 1 0x72.digit(4);
    PSLLQ = 1 1 0x73.digit(6).wide();
    PSRLQ = 1 1 0x73.digit(2).wide();
    PSRAQ = 1 1 0x72.digit(4).wide();
    PCMPD = 1 3 0x1f;
    PCMPQ = 1 3 0x1f.wide();
    PCMPUD = 1 3 0x1e;
    PCMPEQD = 1 1 0x76;
    PCMPGTD = 1 1 0x66;

    // Conversions.
    CVTDQ2PS = 0 1 0x5b;
    CVTPS2DQ = 1 1 0x5b;
    CVTTPS2DQ = 2 1 0x5b;
    CVTPS2PD = 0 1 0x5a.tuple(Half);
    CVTPD2PS = 1 1 0x5a.wide();
    CVTDQ2PD = 2 1 0xe6.tuple(Half);
    PMOVSXDQ = 1 2 0x25.tuple(Half);
    PMOVZXBD = 1 2 0x31.tuple(Quarter);
    PMOVDB = 2 2 0x31.tuple(Quarter);
    PMOVQD = 2 2 0x35.tuple(Half);
    CVTQQ2PS = 0 1 0x5b.wide();
    CVTQQ2PD = 2 1 0xe6.wide();

    // Lanes to other lanes.
    PSHUFD = 1 1 0x70;
    UNPCKLPS = 0 1 0x14;
    UNPCKHPS = 0 1 0x15;
    UNPCKLPD = 1 1 0x14.wide();
    UNPCKHPD = 1 1 0x15.wide();
    SHUFF32X4 = 1 3 0x23;
    EXTRACTF32X4 = 1 3 0x19.tuple(Quarter);
    EXTRACTF64X4 = 1 3 0x1b.wide().tuple(Half);
    INSERTF64X4 = 1 3 0x1a.wide().tuple(Half);
    PERM2F128 = 1 3 0x06;
    GATHERDPS = 1 2 0x92.tuple(One);
    GATHERDPD = 1 2 0x92.tuple(One).wide();
    SCATTERDPS = 1 2 0xa2.tuple(One);
    SCATTERDPD = 1 2 0xa2.tuple(One).wide();

    // Masks.
    KMOVW_GPR = 0 1 0x92.mask(0);
    KMOVW = 0 1 0x90.mask(0);
    KMOVW_TO = 0 1 0x91.mask(0);
    KMOVW_LANES = 0 1 0x93.mask(0);
    MOVMSKPS = 0 1 0x50.tuple(Bytes);
    KANDW = 0 1 0x41.mask(1);
    KORW = 0 1 0x45.mask(1);
    KXORW = 0 1 0x47.mask(1);
    KNOTW = 0 1 0x44.mask(0);
    KUNPCKBW = 1 1 0x4b.mask(1);
    KSHIFTRW = 1 3 0x30.mask(0).w();
}

impl Op {
    /// Whether lanes that are not chosen can be zeroed: not where the choice is between operands, or the result a mask.
    pub fn zeroes(self) -> bool {
        ![BLENDMPS, BLENDMPD, CMPPS, CMPPD, PCMPD, PCMPQ, PCMPUD].contains(&self)
    }

    /// Whether the result is the last operand: a move of part of a register.
    pub fn reversed(self) -> bool {
        [EXTRACTF32X4, EXTRACTF64X4, PMOVDB, PMOVQD].contains(&self)
    }
}

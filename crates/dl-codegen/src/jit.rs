//! Machine code of kernels, in memory.

use crate::Error;
use crate::abi::KernelFn;
use crate::emit::{EXTERNS, LEAVES, emit};
use crate::isa::Isa;
use crate::kernel::Kernel;
use crate::kernel::expand::expand;
use crate::kernel::verify::verify;
use crate::queue::compile_all;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, ExternalName, Signature, types};
use cranelift_codegen::{Context, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc, ModuleRelocTarget, default_libcall_names};
use std::sync::{Mutex, PoisonError};

/// Leaves begin at multiples of this, so that their constants are aligned.
const LEAF_ALIGN: usize = 64;

/// The machine code of one kernel, not yet in executable memory.
#[derive(Clone, Debug)]
pub struct MachineCode {
    name: String,
    bytes: Vec<u8>,
    alignment: u64,
    relocations: Vec<(u32, Reloc, ModuleRelocTarget, i64)>,
    leaves: usize,
    /// For another architecture than this one.
    foreign: bool,
}

impl MachineCode {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The code.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many of its loops and contractions are leaves: functions of wide vectors that Cranelift's code calls.
    pub fn leaves(&self) -> usize {
        self.leaves
    }

    /// Whether there is no code.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Compiles a kernel. A pure function of its arguments, so that kernels can be compiled in parallel.
///
/// # Errors
/// The kernel breaks a rule of the IR, or Cranelift refuses it.
pub fn compile(kernel: &Kernel, isa: &Isa) -> Result<MachineCode, Error> {
    let (context, leaves) = lower(kernel, isa, false)?;
    let compiled = context.compiled_code().ok_or_else(|| fail(kernel, "there is no code"))?;
    let mut bytes = compiled.code_buffer().to_vec();
    let starts = append(&mut bytes, &leaves);
    let mut relocations = Vec::new();
    for reloc in compiled.buffer.relocs() {
        let target = match &reloc.target {
            FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                let name = &context.func.params.user_named_funcs()[*name];
                if name.namespace == LEAVES {
                    let at = reloc.offset as usize;
                    if reloc.kind != Reloc::X86CallPCRel4 {
                        return Err(fail(kernel, &format!("unexpected relocation {:?} of a leaf", reloc.kind)));
                    }
                    let distance = starts[name.index as usize] as i64 - at as i64 + reloc.addend;
                    bytes[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
                    continue;
                }
                ModuleRelocTarget::user(name.namespace, name.index)
            }
            FinalizedRelocTarget::ExternalName(ExternalName::LibCall(call)) => ModuleRelocTarget::LibCall(*call),
            other => return Err(fail(kernel, &format!("unexpected relocation against {other:?}"))),
        };
        relocations.push((reloc.offset, reloc.kind, target, reloc.addend));
    }
    Ok(MachineCode {
        name: kernel.name.clone(),
        bytes,
        alignment: if leaves.is_empty() { u64::from(compiled.buffer.alignment) } else { LEAF_ALIGN as u64 },
        relocations,
        leaves: leaves.len(),
        foreign: !isa.is_native(),
    })
}

/// The Cranelift code of a kernel, as text.
///
/// # Errors
/// As [`compile`].
pub fn clif(kernel: &Kernel, isa: &Isa) -> Result<String, Error> {
    verify(kernel)?;
    Ok(emit(&expand(kernel, isa.has_fma()), isa, &mut FunctionBuilderContext::new()).0.display().to_string())
}

/// The machine code of a kernel, as text; that of its leaves as bytes, for a disassembler.
///
/// # Errors
/// As [`compile`].
pub fn asm(kernel: &Kernel, isa: &Isa) -> Result<String, Error> {
    let (context, leaves) = lower(kernel, isa, true)?;
    let text = context.compiled_code().and_then(|code| code.vcode.clone());
    let mut text = text.ok_or_else(|| fail(kernel, "there is no code"))?;
    for (i, leaf) in leaves.iter().enumerate() {
        // Cranelift calls it `u1:i`.
        text += &format!("leaf u{LEAVES}:{i} ({} bytes):\n", leaf.len());
        for line in leaf.chunks(32) {
            let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("  {}\n", bytes.join(" "));
        }
    }
    Ok(text)
}

/// Kernels in executable memory, for as long as this lives.
pub struct Library {
    /// Behind a lock because nothing of it is touched until it is freed.
    module: Mutex<Option<JITModule>>,
    kernels: Vec<KernelFn>,
    bytes: usize,
}

impl Library {
    /// Compiles kernels on up to `threads` threads, where that pays. The code does not depend on their number.
    ///
    /// # Errors
    /// As [`compile`]; or there is no executable memory.
    pub fn compile(kernels: &[&Kernel], isa: &Isa, threads: usize) -> Result<Library, Error> {
        Library::load(&compile_all(kernels, isa, threads)?, isa)
    }

    /// Puts machine code into executable memory.
    ///
    /// # Errors
    /// There is no executable memory, or the code is for another CPU.
    pub fn load(codes: &[MachineCode], isa: &Isa) -> Result<Library, Error> {
        if !isa.is_native() || codes.iter().any(|code| code.foreign) {
            return Err(Error::Isa("the code is for another architecture".into()));
        }
        let mut builder = JITBuilder::with_isa(isa.shared_target(), default_libcall_names());
        for function in &EXTERNS {
            builder.symbol(function.name, (function.address)());
        }
        let mut module = JITModule::new(builder);
        let at =
            |name: &str, e: &dyn std::fmt::Display| Error::Compile { kernel: name.to_string(), message: e.to_string() };
        let mut signature = Signature::new(isa.target().default_call_conv());
        // Kernels refer to the functions by their number, so these are declared first.
        for function in &EXTERNS {
            module.declare_function(function.name, Linkage::Import, &signature).map_err(|e| at(function.name, &e))?;
        }
        signature.params.extend([AbiParam::new(types::I64); 3]);
        let mut ids: Vec<FuncId> = Vec::with_capacity(codes.len());
        for code in codes {
            let id = module.declare_anonymous_function(&signature).map_err(|e| at(&code.name, &e))?;
            let relocations: Vec<ModuleReloc> = code
                .relocations
                .iter()
                .map(|(offset, kind, name, addend)| ModuleReloc {
                    offset: *offset,
                    kind: *kind,
                    name: name.clone(),
                    addend: *addend,
                })
                .collect();
            module
                .define_function_bytes(id, code.alignment, &code.bytes, &relocations)
                .map_err(|e| at(&code.name, &e))?;
            ids.push(id);
        }
        module.finalize_definitions().map_err(|e| at("all", &e))?;
        let kernels = ids
            .iter()
            .map(|id| {
                let code = module.get_finalized_function(*id);
                // SAFETY: the address is that of a function compiled with the signature of `KernelFn` for the
                // platform's C calling convention.
                unsafe { std::mem::transmute::<*const u8, KernelFn>(code) }
            })
            .collect();
        let bytes = codes.iter().map(MachineCode::len).sum();
        Ok(Library { module: Mutex::new(Some(module)), kernels, bytes })
    }

    /// The kernels, in the order in which they were given. They may be called while the library lives.
    pub fn kernels(&self) -> &[KernelFn] {
        &self.kernels
    }

    /// Bytes of machine code.
    pub fn code_size(&self) -> usize {
        self.bytes
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let module = self.module.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = module.take() {
            // SAFETY: the functions are reached only through the library, which nobody holds any more; callers of
            // `KernelFn` keep it alive.
            unsafe { module.free_memory() };
        }
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Library({} kernels, {} bytes)", self.kernels.len(), self.bytes)
    }
}

/// Puts leaves behind the code of the kernel that calls them; returns where each one begins.
fn append(bytes: &mut Vec<u8>, leaves: &[Vec<u8>]) -> Vec<usize> {
    let place = |leaf: &Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(LEAF_ALIGN), 0xcc);
        bytes.extend(leaf);
        bytes.len() - leaf.len()
    };
    leaves.iter().map(place).collect()
}

/// Generates the code of a kernel, and that of its leaves.
fn lower(kernel: &Kernel, isa: &Isa, text: bool) -> Result<(Context, Vec<Vec<u8>>), Error> {
    verify(kernel)?;
    let (function, leaves) = emit(&expand(kernel, isa.has_fma()), isa, &mut FunctionBuilderContext::new());
    let mut context = Context::for_function(function);
    context.set_disasm(text);
    context.compile(isa.target(), &mut ControlPlane::default()).map_err(|e| fail(kernel, &format!("{:?}", e.inner)))?;
    Ok((context, leaves))
}

fn fail(kernel: &Kernel, message: &str) -> Error {
    Error::Compile { kernel: kernel.name.clone(), message: message.to_string() }
}

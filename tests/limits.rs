//! Sizes and numbers beyond any machine: an error that helps, never a panic or an abort.

use dl::prelude::*;
use dl::{Isa, Options};

dl::model! {
    model Wide {
        dim HIDDEN;
        let first = Linear(4 => HIDDEN);
        let last = Linear(HIDDEN => HIDDEN);

        pub fn forward(x: f32[N, 4]) -> f32[N, HIDDEN] {
            last(first(x))
        }
    }
}

#[test]
fn parameters_that_fit_into_no_memory_are_refused() {
    for hidden in [1 << 40, 1 << 44, 1 << 60, 1 << 62, i64::MAX as usize, usize::MAX] {
        let message = Wide::new(hidden, Seed(0)).err().expect("too large").to_string();
        let helps = ["use smaller sizes", "which is too large"].iter().any(|fix| message.contains(fix));
        let names = ["`first.weight`", "dimension `HIDDEN`"].iter().any(|name| message.contains(name));
        assert!(helps && names, "{hidden}: {message}");
    }
    let message = Wide::new(1 << 42, Seed(0)).err().expect("too large").to_string();
    assert!(message.starts_with("`first.weight` needs 64.0 TiB, which the system does not grant"), "{message}");
}

dl::model! {
    /// Without parameters, so that only the programs are large.
    model Tall {
        dim BIG;

        pub fn spread(x: f32[N, 1]) -> f32[N, BIG] {
            x + zeros([N, BIG])
        }

        pub fn sorted(x: f32[N, 1]) -> f32[N, BIG] {
            (x * randn([N, BIG])).softmax(axis = 1)
        }

        pub fn square(x: f32[N, 1]) -> f32 {
            (x.sum() * randn([BIG * BIG, BIG])).sum()
        }

        pub fn difference(x: f32[N, 1], y: f32[N, BIG]) -> f32 {
            (x - y).square().mean()
        }
    }
}

#[test]
fn programs_that_fit_into_no_memory_are_refused() -> dl::Result<()> {
    let x = Array2::<f32>::ones((2, 1));
    for isa in [Isa::Native, Isa::Interpreter] {
        for big in [1 << 40, 1 << 43, 1 << 46, 1 << 61, i64::MAX as usize] {
            let mut options = Options::from_env()?;
            options.isa = isa;
            let net = Tall::with_options(big, Seed(0), options)?;
            let errors =
                [net.spread(&x).err(), net.sorted(&x).err(), net.square(&x).err(), net.explain_square(&x).err()];
            for (i, error) in errors.into_iter().enumerate() {
                let message = error.unwrap_or_else(|| panic!("{big}, function {i}: no error")).to_string();
                let helps = ["use smaller sizes", "overflows 64 bits"].iter().any(|fix| message.contains(fix));
                assert!(helps && !message.contains("internal"), "{big}, function {i}: {message}");
            }
            assert!(net.difference(&x, &Array2::ones((2, 3))).is_err());
            assert!(net.summary().to_string().contains("Tall"));
        }
    }
    for big in [1 << 10, 1 << 12, 1 << 14] {
        let net = Tall::new(big, Seed(0))?;
        match net.explain_square(&x) {
            Ok(text) => assert!(big < 1 << 13 && text.contains("arena "), "{big}: {text}"),
            Err(error) => assert!(big > 1 << 13 && matches!(error, dl::Error::TooLarge { .. }), "{big}: {error}"),
        }
    }
    let message = Tall::new(1 << 46, Seed(0))?.spread(&x).expect_err("too large").to_string();
    assert!(
        message.starts_with("`spread` does not work at the sizes BIG = 70368744177664, N = 2: a value of type f32[2, 70368744177664] needs 512.0 TiB")
            && message.contains("tests/limits.rs:"),
        "{message}"
    );
    Ok(())
}

#[test]
fn absurd_numbers_of_threads_are_refused() {
    let mut options = Options::default();
    options.threads = usize::MAX;
    let message = Tall::with_options(3, Seed(0), options).err().expect("too many").to_string();
    assert_eq!(message, "threads is `18446744073709551615`; give a number of threads from 1 to 1024");
}

dl::model! {
    model Small {
        let line = [Linear(2 => 3), Dropout(0.5), Linear(3 => 1)];

        pub fn forward(x: f32[N, 2]) -> f32[N, 1] {
            line(x)
        }

        #[train]
        pub fn loss(x: f32[N, 2]) -> f32 {
            forward(x).square().mean()
        }
    }
}

/// The steps noted in a checkpoint are only bytes of a file: any number is possible.
#[test]
fn absurd_numbers_of_steps_in_a_checkpoint_are_no_trouble() -> dl::Result<()> {
    let folder = std::env::temp_dir().join(format!("dl-limits-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (net_file, adam_file) = (folder.join("net.safetensors"), folder.join("adam.safetensors"));
    let (mut net, mut adam) = (Small::new(Seed(1))?, Adam::new(0.01));
    let x = Array2::ones((4, 2));
    net.train_loss(&mut adam, &x)?;
    net.save(&net_file)?;
    adam.save(&adam_file)?;
    for file in [&net_file, &adam_file] {
        let bytes = std::fs::read(file).expect("the file");
        let (header, data) = bytes[8..].split_at(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize);
        let header = String::from_utf8(header.to_vec()).expect("json");
        assert!(header.contains("steps=1"), "{header}");
        let header = header.replace("steps=1", "steps=18446744073709551615");
        let whole = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
        std::fs::write(file, whole).expect("a write");
    }
    net.load(&net_file)?;
    adam.load(&adam_file)?;
    assert_eq!(adam.state().steps(), u64::MAX);
    for _ in 0..2 {
        let loss = net.train_loss(&mut adam, &x)?;
        assert!(loss.is_finite());
    }
    assert_eq!(adam.state().steps(), u64::MAX);
    assert!(net.parameters().all(|p| p.view::<f32>().is_ok_and(|v| v.iter().all(|v| v.is_finite()))));
    std::fs::remove_dir_all(folder).expect("a removal");
    Ok(())
}

#[test]
fn only_so_many_programs_are_kept() -> dl::Result<()> {
    let mut options = Options::from_env()?;
    options.isa = Isa::Interpreter;
    assert_eq!(options.programs, 64);
    let net = Small::with_options(Seed(0), options)?;
    let batch = |n: usize| net.forward(&Array2::ones((n, 2))).map(|y| y.nrows());
    for n in 1..=70 {
        assert_eq!(batch(n)?, n);
        batch(1)?;
    }
    assert_eq!(net.compilations().len(), 70, "the one in constant use stays");
    batch(2)?;
    batch(2)?;
    let log = net.compilations();
    assert_eq!(log.len(), 71);
    assert_eq!(log[70].reason, "dropped before, as only the last 64 programs are kept");
    batch(70)?;
    assert_eq!(net.compilations().len(), 71);
    Ok(())
}

#[test]
fn threads_that_share_a_model_compile_for_their_own_sizes() -> dl::Result<()> {
    let net = Small::new(Seed(0))?;
    let results: Vec<dl::Result<usize>> = std::thread::scope(|scope| {
        let spawn = |n: usize| {
            scope.spawn({
                let net = &net;
                move || net.forward(&Array2::ones((n, 2))).map(|y| y.nrows())
            })
        };
        let threads: Vec<_> = [1, 2, 3, 1, 2, 3].map(spawn).into_iter().collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(results.into_iter().collect::<dl::Result<Vec<_>>>()?, [1, 2, 3, 1, 2, 3]);
    assert_eq!(net.compilations().len(), 3, "once for each size");
    Ok(())
}

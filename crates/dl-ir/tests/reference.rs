//! The tables of `docs`, from the tables of layers and methods: `DL_BLESS=1 cargo test -p dl-ir --test reference`
//! rewrites them.

#[path = "support/pages.rs"]
mod pages;

use std::collections::BTreeMap;

use dl_ir::DType;
use dl_ir::nn::{self, LayerDef, MethodDef, Param, Passes};
use pages::{check_tables, code, prose, table};

/// What the pages show of a layer or method.
struct Entry {
    name: &'static str,
    call: String,
    about: String,
    params: Vec<&'static Param>,
}

impl Entry {
    fn of_layer(layer: &'static LayerDef) -> Entry {
        let call = nn::signature(layer.name, layer.params);
        let call = call.strip_suffix("()").unwrap_or(&call).to_string();
        let mut about = layer.doc.to_string();
        let mut params: Vec<_> = layer.params.iter().collect();
        if layer.takes.len() > 1 {
            about += &format!("; called with `{}`", nn::signature("", layer.takes));
            params.extend(&layer.takes[1..]);
        }
        if layer.passes == Passes::First {
            about += "; a sequence passes on the first result";
        }
        Entry { name: layer.name, call, about, params }
    }

    fn of_method(method: &'static MethodDef) -> Entry {
        let receiver = if method.is_method() { format!("{}.", method.params[0].name) } else { String::new() };
        let mut about = method.doc.to_string();
        if !method.aliases.is_empty() {
            let aliases: Vec<String> = method.aliases.iter().map(|alias| code(alias)).collect();
            about += &format!("; also {}", aliases.join(", "));
        }
        let params = method.params.iter().skip(usize::from(method.is_method())).collect();
        Entry { name: method.name, call: receiver + &method.signature(), about, params }
    }

    fn row(&self) -> Vec<String> {
        let torch = nn::torch_name(self.name).unwrap_or_else(|| "-".to_string());
        vec![code(&self.call), prose(&self.about), if torch == "-" { torch } else { code(&torch) }]
    }
}

/// The entries of a file, and then what their arguments mean.
fn entries_and_arguments(entries: &[Entry]) -> String {
    let mut arguments: Vec<(&Param, Vec<&str>)> = vec![];
    for entry in entries {
        for &param in &entry.params {
            let same = |p: &Param| (p.name, p.kind, p.doc) == (param.name, param.kind, param.doc);
            match arguments.iter_mut().find(|(p, _)| same(p)) {
                Some((_, owners)) => owners.push(entry.name),
                None => arguments.push((param, vec![entry.name])),
            }
        }
    }
    let rows = arguments.iter().map(|(param, owners)| {
        let alone = arguments.iter().filter(|(p, _)| p.name == param.name).count() == 1;
        let of = owners.iter().map(|owner| code(owner)).collect::<Vec<_>>().join(", ");
        let name = if alone { code(param.name) } else { format!("{} of {of}", code(param.name)) };
        vec![name, prose(&param.kind.expects()), prose(param.doc)]
    });
    let mut text = table(&["", "meaning", "PyTorch"], entries.iter().map(Entry::row));
    if !arguments.is_empty() {
        text += "\n";
        text += &table(&["argument", "takes", "meaning"], rows);
    }
    text
}

fn written(name: &str) -> Option<String> {
    if let Some(file) = name.strip_prefix("layers ") {
        let (_, layers) = nn::layer_tables().find(|(table, _)| *table == file)?;
        return Some(entries_and_arguments(&layers.iter().map(Entry::of_layer).collect::<Vec<_>>()));
    }
    if let Some(file) = name.strip_prefix("methods ") {
        let (_, methods) = nn::method_tables().find(|(table, _)| *table == file)?;
        return Some(entries_and_arguments(&methods.iter().map(Entry::of_method).collect::<Vec<_>>()));
    }
    match name {
        "element types" => Some(DType::ALL.map(|dtype| code(dtype.name())).join(", ") + "\n"),
        "argument names" => {
            let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for (torch, ours) in nn::TORCH_ARGUMENTS {
                names.entry(ours).or_default().push(code(torch));
            }
            Some(table(
                &["here", "also understood"],
                names.iter().map(|(ours, torch)| vec![code(ours), torch.join(", ")]),
            ))
        }
        _ => None,
    }
}

#[test]
fn pages_show_every_entry_as_the_tables_have_it() {
    let found = check_tables(written);
    let files = nn::layer_tables().map(|(file, _)| format!("layers {file}"));
    for name in files.chain(nn::method_tables().map(|(file, _)| format!("methods {file}"))) {
        let times = found.get(&name).copied().unwrap_or(0);
        assert_eq!(times, 1, "a page needs the lines `<!-- table: {name} -->` and `<!-- end -->` once");
    }
}

/// Each of PyTorch's names of arguments means one here, somewhere.
#[test]
fn every_name_of_an_argument_leads_to_one() {
    let takers: Vec<&[Param]> =
        nn::methods().map(|m| m.params).chain(nn::layers().flat_map(|l| [l.params, l.takes])).collect();
    for &(theirs, ours) in nn::TORCH_ARGUMENTS {
        let has = |params: &&&[Param], name: &str| params.iter().any(|p| p.name == name);
        let taker = takers.iter().find(|params| has(params, ours) && !has(params, theirs));
        let param = taker.and_then(|params| params.iter().find(|p| p.name == ours));
        assert!(param.is_some(), "`{theirs}` stands for `{ours}`, which nothing takes");
    }
    let bound = |name: &str, given: &[nn::Given]| nn::method(name).unwrap().bind(given).is_ok();
    assert!(bound("eye", &[nn::Given::named("n", 3)]));
    assert!(bound("zeros", &[nn::Given::named("size", vec![2, 3])]));
    assert!(bound("full", &[nn::Given::named("size", vec![2, 3]), nn::Given::named("fill_value", 1.0)]));
    assert!(!bound("eye", &[nn::Given::named("m", 3)]));
}

#[test]
fn prose_is_escaped_but_not_code() {
    assert_eq!(prose("|x| of [N, C], see `a|b[0]`"), "\\|x\\| of \\[N, C\\], see `a\\|b[0]`");
    assert_eq!(code("a | b"), "`a \\| b`");
}

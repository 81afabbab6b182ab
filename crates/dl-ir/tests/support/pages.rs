//! Tables within the pages of `docs`, written by tests from what the code declares.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end -->\n";

/// Puts what `write` makes of `NAME` between each `<!-- table: NAME -->` and `<!-- end -->` of the pages; `None` for
/// tables that others write. Fails where a page had something else, which `DL_BLESS=1` rewrites. The result is how often
/// each name was found.
pub fn check_tables(write: impl Fn(&str) -> Option<String>) -> BTreeMap<String, usize> {
    let bless = std::env::var_os("DL_BLESS").is_some_and(|v| v == "1");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut pages: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    pages.sort();
    let (mut found, mut stale) = (BTreeMap::new(), vec![]);
    for page in pages {
        let old = fs::read_to_string(&page).unwrap();
        let mut new = String::new();
        let mut rest = &old[..];
        while let Some(at) = rest.find(BEGIN) {
            let name = rest[at + BEGIN.len()..].split(" -->\n").next().unwrap();
            let body = at + BEGIN.len() + name.len() + " -->\n".len();
            let end = body + rest[body..].find(END).unwrap_or_else(|| panic!("table {name} of {page:?} has no end"));
            new += &rest[..body];
            new += &write(name).unwrap_or_else(|| rest[body..end].to_string());
            *found.entry(name.to_string()).or_default() += 1;
            rest = &rest[end..];
        }
        new += rest;
        if new != old && bless {
            fs::write(&page, new).unwrap();
        } else if new != old {
            let line = new.lines().zip(old.lines()).find(|(new, old)| new != old).map_or("", |(new, _)| new);
            stale.push(format!("{}: the first line that differs should be\n{line}", page.display()));
        }
    }
    assert!(stale.is_empty(), "DL_BLESS=1 rewrites the tables of\n{}", stale.join("\n"));
    found
}

/// A table of Markdown.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| cell.to_string()).collect();
    let mut table = line(&head) + &line(&vec!["---".to_string(); head.len()]);
    for row in rows {
        table += &line(&row);
    }
    table
}

/// Prose in a cell: what Markdown would take for its own is escaped, but for code.
pub fn prose(text: &str) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for c in text.chars() {
        in_code ^= c == '`';
        if c == '|' || !in_code && "[]<*".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Code in a cell.
pub fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

//! Names near a misspelt one.

/// The candidate nearest to a misspelt `word`, when one is near enough to be what was meant. A word of one letter is
/// too short to be misspelt.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    if letters < 2 {
        return None;
    }
    let limit = (letters / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(edits, candidate)| edits <= limit || (candidate.len() > 3 && same_letters(word, candidate)))
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// ``; did you mean `x`?`` for the nearest candidate, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|found| format!("; did you mean `{found}`?")).unwrap_or_default()
}

/// `` `a`, `b` and `c` ``, for messages that list what there is.
pub fn list_names<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{}`", n.as_ref())).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// Equal but for case and underscores: `maxpool2d` and `max_pool2d`.
fn same_letters(a: &str, b: &str) -> bool {
    let letters = |s: &str| s.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>();
    letters(a) == letters(b)
}

/// Edits (insert, delete, replace, swap two neighbours) that turn `a` into `b`.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = table[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edit = (table[(i - 1) * width + j] + 1).min(table[i * width + j - 1] + 1).min(replace);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { edit.min(table[(i - 2) * width + j - 2] + 1) } else { edit }
            };
        }
    }
    table[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_what_was_meant() {
        let layers = ["Linear", "LayerNorm", "Conv2d", "Relu"];
        assert_eq!(nearest("Liner", layers), Some("Linear"));
        assert_eq!(nearest("layer_norm", layers), Some("LayerNorm"));
        assert_eq!(nearest("Rleu", layers), Some("Relu"));
        assert_eq!(nearest("Attention", layers), None);
        assert_eq!(nearest("t", ["b", "d"]), None);
        assert_eq!(list_names(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}

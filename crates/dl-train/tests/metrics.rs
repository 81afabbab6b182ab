//! The metrics against scikit-learn's values in `tests/data/goldens`.

use std::path::Path;

use dl_train::metrics::{
    Average, ConfusionMatrix, accuracy, average_precision, brier, explained_variance, log_loss, mae, mse, r2, roc_auc,
    roc_auc_one_vs_rest, top_k_accuracy,
};
use ndarray::{Array1, Array2};
use safetensors::SafeTensors;
use serde_json::Value;

#[test]
fn values_are_those_of_scikit_learn() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens");
    let bytes = std::fs::read(goldens.join("metrics.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let text = std::fs::read_to_string(goldens.join("metrics.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    let expected = cases[0]["values"].as_object().unwrap();

    let data = |name: &str| tensors.tensor(&format!("data/{name}")).unwrap().data();
    let floats = |name| -> Array1<f32> { data(name).as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect() };
    let ints = |name| -> Array1<i64> { data(name).as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect() };

    let (y, score, target, value) = (ints("y"), floats("score"), floats("target"), floats("value"));
    let (y_multi, flat) = (ints("y_multi"), floats("score_multi"));
    let scores: Array2<f32> = flat.into_shape_with_order((y_multi.len(), 4)).unwrap();
    let two = ConfusionMatrix::from_classes(&ints("pred"), &y, 2).unwrap();
    let four = ConfusionMatrix::from_classes(&ints("pred_multi"), &y_multi, 4).unwrap();
    assert_eq!(four, ConfusionMatrix::from_scores(&scores, &y_multi).unwrap());
    assert_eq!(four.accuracy(), accuracy(&scores, &y_multi));

    let mut checked = Vec::new();
    let mut check = |name: &str, found: f64| {
        let expected = expected[name].as_f64().unwrap();
        // The inputs were rounded to f32.
        assert!((found - expected).abs() < 1e-6, "{name}: found {found}, expected {expected}");
        checked.push(name.to_owned());
    };
    check("accuracy", two.accuracy());
    check("precision", two.precision_of(1));
    check("recall", two.recall_of(1));
    check("f1", two.f1_of(1));
    check("mcc", two.mcc());
    check("roc_auc", roc_auc(&score, &y).unwrap());
    check("average_precision", average_precision(&score, &y).unwrap());
    check("log_loss", log_loss(&score, &y).unwrap());
    check("brier", brier(&score, &y).unwrap());
    check("accuracy_multi", four.accuracy());
    check("balanced_accuracy", four.balanced_accuracy());
    check("cohen_kappa", four.cohen_kappa());
    check("top2_accuracy", top_k_accuracy(&scores, &y_multi, 2));
    check("roc_auc_ovr_macro", roc_auc_one_vs_rest(&scores, &y_multi).unwrap());
    for (suffix, average) in [("macro", Average::Macro), ("micro", Average::Micro), ("weighted", Average::Weighted)] {
        check(&format!("precision_{suffix}"), four.precision(average));
        check(&format!("recall_{suffix}"), four.recall(average));
        check(&format!("f1_{suffix}"), four.f1(average));
    }
    check("mse", mse(&value, &target).unwrap());
    check("mae", mae(&value, &target).unwrap());
    check("r2", r2(&value, &target).unwrap());
    check("explained_variance", explained_variance(&value, &target).unwrap());

    let counts = serde_json::to_value(four.counts().rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>());
    assert_eq!(counts.unwrap(), expected["confusion_multi"]);
    checked.push("confusion_multi".to_owned());
    let unchecked: Vec<_> = expected.keys().filter(|name| !checked.contains(name)).collect();
    assert!(unchecked.is_empty(), "{unchecked:?}");
}

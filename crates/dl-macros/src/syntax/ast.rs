//! The syntax tree of `model!`.
//!
//! ```text
//! models   := model*
//! model    := attr* vis "model" NAME "{" item* "}"
//! item     := "const" NAME "=" expr ";"
//!           | "dim" NAME ("," NAME)* ";"
//!           | "dtype" ("f32" | "f64") ";"                           // once, in a model
//!           | "require" expr ";"                                  // DIM % HEADS == 0
//!           | "let" name "=" layer ";"
//!           | "block" NAME "(" (NAME ("=" expr)?),* ")" "{" item* "}"
//!           | attr* vis "fn" name "(" (name ":" type),* ")" "->" results "{" rust-statements "}"
//! layer    := NAME ("(" argument,* ")")? | "[" layer,* "]" | "[" layer ";" expr "]"
//! argument := expr | expr "=>" expr | name "=" expr
//! type     := dtype ("[" expr,* "]")?
//! results  := type | "(" type,* ")"
//! ```
//!
//! What failed to parse stays in the tree under its name with its content absent, so that later stages
//! know that the name exists and stay silent about it.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Attribute, Expr, Ident, Stmt, Visibility, token};

use crate::diag::source_text;

/// One `model Name { ... }`.
pub struct Model {
    /// Outer attributes, doc comments included; they go onto the struct.
    pub attrs: Vec<Attribute>,
    /// Visibility of the struct.
    pub vis: Visibility,
    /// Name of the struct.
    pub name: Ident,
    /// What stands between the braces.
    pub body: Body,
}

/// The items of a model or a block.
#[derive(Default)]
pub struct Body {
    /// `const NAME = expr;`
    pub consts: Vec<Const>,
    /// `dim NAME;`, in a model only.
    pub dims: Vec<Ident>,
    /// `dtype f64;`, in a model only.
    pub dtype: Option<Ident>,
    /// `require A % B == 0;`
    pub facts: Vec<Expr>,
    /// `let name = layer;`, in declaration order, which is the order of the parameters.
    pub layers: Vec<LayerDecl>,
    /// `fn name(...) -> ... { ... }`
    pub functions: Vec<Function>,
    /// `block Name(...) { ... }`
    pub blocks: Vec<Block>,
}

/// `const NAME = expr;`
pub struct Const {
    /// The name, upper case by convention.
    pub name: Ident,
    /// The value; absent when it failed to parse.
    pub value: Option<Expr>,
}

/// `block Name(DIM, HEADS = 8) { ... }`: a reusable module.
pub struct Block {
    /// The name it is declared with as a layer.
    pub name: Ident,
    /// Its arguments.
    pub params: Vec<BlockParam>,
    /// Its items.
    pub body: Body,
    /// Whether the header parsed; a broken block still has its name.
    pub complete: bool,
}

/// One argument of a block.
pub struct BlockParam {
    /// Name, usable as a dimension within the block.
    pub name: Ident,
    /// Value when the declaration of the layer leaves it out.
    pub default: Option<Expr>,
}

/// `let name = layer;`
pub struct LayerDecl {
    /// The name, which begins its parameters' names.
    pub name: Ident,
    /// The layer; absent when it failed to parse.
    pub layer: Option<Layer>,
}

/// A layer expression.
pub enum Layer {
    /// `Linear(64 => 10)`, or a bare `Relu`.
    Call(LayerCall),
    /// `[A, B, C]`, applied in order.
    Sequence(token::Bracket, Vec<Layer>),
    /// `[A; 4]`: four of them, each with parameters of its own.
    Repeat(Box<Layer>, Expr),
}

/// A layer of the table or a block by name, with its arguments.
pub struct LayerCall {
    /// Which layer.
    pub name: Ident,
    /// What stands between the parentheses.
    pub args: Vec<LayerArg>,
    /// The parentheses; absent for a bare name.
    pub parens: Option<token::Paren>,
}

impl ToTokens for LayerCall {
    /// The name and an empty pair of parentheses: enough for an error to cover all of the call.
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.name.to_tokens(tokens);
        if let Some(parens) = &self.parens {
            parens.surround(tokens, |_| ());
        }
    }
}

/// One argument of a layer.
pub enum LayerArg {
    /// `3`
    Positional(Expr),
    /// `1 => 32`: from so many features or channels to so many.
    Map(Expr, Expr),
    /// `kernel = 3`
    Named(Ident, Expr),
}

/// `fn name(x: f32[N, 10]) -> f32[N] { ... }`
pub struct Function {
    /// Outer attributes but `#[train]`; they go onto the method.
    pub attrs: Vec<Attribute>,
    /// `#[train]`, when there.
    pub train: Option<Train>,
    /// Visibility: functions that are not public are only called by others of the model.
    pub vis: Visibility,
    /// The name.
    pub name: Ident,
    /// Arguments and results; absent when they failed to parse.
    pub signature: Option<Signature>,
    /// The statements; those that failed to parse are `Expr::Verbatim`.
    pub body: Vec<Stmt>,
    /// Where the body ends: errors about a missing value point here.
    pub end: Span,
}

/// Arguments and results of a function.
pub struct Signature {
    /// Arguments in order.
    pub params: Vec<Param>,
    /// Result types; more than one stand in a tuple.
    pub results: Results,
}

/// What a function returns.
pub enum Results {
    /// `-> f32[N, 10]`
    One(TypeExpr),
    /// `-> (f32[N, 10], f32)`
    Tuple(Vec<TypeExpr>),
}

impl Results {
    /// The types in order.
    pub fn types(&self) -> &[TypeExpr] {
        match self {
            Results::One(one) => std::slice::from_ref(one),
            Results::Tuple(all) => all,
        }
    }

    /// The types as the user wrote them.
    pub fn text(&self) -> String {
        match self {
            Results::One(one) => one.text(),
            Results::Tuple(all) if all.len() == 1 => format!("({},)", all[0].text()),
            Results::Tuple(all) => format!("({})", all.iter().map(TypeExpr::text).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// One argument of a function.
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: TypeExpr,
}

/// `f32[N, 10]`, or `f32` for a scalar.
pub struct TypeExpr {
    /// The element type as written.
    pub dtype: Ident,
    /// The dimensions; none for a scalar.
    pub dims: Vec<Expr>,
}

impl TypeExpr {
    /// The type as the user wrote it.
    pub fn text(&self) -> String {
        if self.dims.is_empty() {
            return self.dtype.to_string();
        }
        let dims: Vec<String> = self.dims.iter().map(source_text).collect();
        format!("{}[{}]", self.dtype, dims.join(", "))
    }
}

/// `#[train]` or `#[train(only = generator, head.0)]`
pub struct Train {
    /// The attribute's name, for errors.
    pub span: Span,
    /// Names of the layers whose parameters are updated, with the tokens of each; empty: all.
    pub only: Vec<(String, TokenStream)>,
}

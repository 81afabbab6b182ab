//! The parser of `model!`: token streams to the syntax tree. Grammar: `ast.rs`.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, Result, Token, Visibility, braced, bracketed, parenthesized, token};

use super::ast::*;
use super::recover::{at_item, skip_item, statements};
use crate::diag::{Diagnostics, did_you_mean};

mod keyword {
    syn::custom_keyword!(model);
    syn::custom_keyword!(dim);
    syn::custom_keyword!(dtype);
    syn::custom_keyword!(require);
    syn::custom_keyword!(block);
    syn::custom_keyword!(train);
    syn::custom_keyword!(only);
}

/// Parses all models of one invocation; errors go to `diagnostics` and parsing goes on at the next item.
pub fn parse(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Vec<Model> {
    let mut models = Vec::new();
    let parser = |input: ParseStream| {
        while !input.is_empty() {
            let start = input.span();
            match model(input, diagnostics) {
                Ok(model) => models.push(model),
                Err(error) => {
                    diagnostics.push(error);
                    skip_item(input, start);
                }
            }
        }
        Ok(())
    };
    // syn also fails at the end for tokens that a nested parser left over; those after a reported error are no news.
    let leftover = parser.parse2(tokens).err();
    if let Some(error) = leftover.filter(|_| diagnostics.is_empty()) {
        diagnostics.push(error);
    }
    models
}

fn model(input: ParseStream, diagnostics: &mut Diagnostics) -> Result<Model> {
    let attrs = input.call(Attribute::parse_outer)?;
    let vis = input.parse()?;
    if !input.peek(keyword::model) {
        let hint = match input.cursor().ident() {
            Some((word, _)) => did_you_mean(&word.to_string(), ["model"]),
            None => String::new(),
        };
        return Err(input.error(format!("expected `model Name {{ ... }}`{hint}")));
    }
    input.parse::<keyword::model>()?;
    let name = input.parse()?;
    if input.peek(Token![<]) || input.peek(token::Paren) {
        let message = "a model takes no parameters here: a size that `new` is to take is `dim NAME;` among its items";
        return Err(input.error(message));
    }
    let body;
    braced!(body in input);
    let body = items(&body, Place::Model, diagnostics);
    Ok(Model { attrs, vis, name, body })
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Model,
    Block,
}

fn items(input: ParseStream, place: Place, diagnostics: &mut Diagnostics) -> Body {
    let mut body = Body::default();
    while !input.is_empty() {
        let start = input.span();
        if let Err(error) = item(input, place, &mut body, diagnostics) {
            diagnostics.push(error);
            skip_item(input, start);
        }
    }
    body
}

fn item(input: ParseStream, place: Place, body: &mut Body, diagnostics: &mut Diagnostics) -> Result<()> {
    let attrs = input.call(Attribute::parse_outer)?;
    let vis: Visibility = input.parse()?;
    if input.peek(Token![fn]) {
        return function(input, attrs, vis, place, body, diagnostics);
    }
    if let Some(attr) = attrs.iter().find(|a| !a.path().is_ident("doc")) {
        diagnostics.at(attr, "attributes go on functions and on the model");
    }
    if !matches!(vis, Visibility::Inherited) {
        diagnostics.at(&vis, "only functions and the model have a visibility");
    }
    if input.peek(Token![let]) {
        layer_decl(input, body)
    } else if input.peek(Token![const]) {
        constant(input, body)
    } else if input.peek(keyword::dim) {
        dims(input, place, body)
    } else if input.peek(keyword::dtype) {
        dtype(input, place, body)
    } else if input.peek(keyword::require) {
        input.parse::<keyword::require>()?;
        body.facts.push(input.parse()?);
        semicolon(input, "the fact")
    } else if input.peek(keyword::block) {
        block(input, body, diagnostics)
    } else {
        let words = ["let", "const", "dim", "dtype", "require", "block", "fn", "pub"];
        let hint = match input.cursor().ident() {
            Some((word, _)) => did_you_mean(&word.to_string(), words),
            None => String::new(),
        };
        Err(input.error(format!("expected `let`, `fn`, `const`, `dim`, `dtype`, `require` or `block`{hint}")))
    }
}

/// `let name = layer;`. The name is kept even when the layer does not parse.
fn layer_decl(input: ParseStream, body: &mut Body) -> Result<()> {
    input.parse::<Token![let]>()?;
    if input.peek(Token![mut]) {
        return Err(input.error("a layer is not `mut`: training changes the parameters of all of them"));
    }
    let name: Ident = input.parse()?;
    body.layers.push(LayerDecl { name, layer: None });
    input.parse::<Token![=]>()?;
    let parsed = layer(input)?;
    body.layers.last_mut().expect("pushed above").layer = Some(parsed);
    semicolon(input, "the layer")
}

fn constant(input: ParseStream, body: &mut Body) -> Result<()> {
    input.parse::<Token![const]>()?;
    let name: Ident = input.parse()?;
    body.consts.push(Const { name, value: None });
    if input.peek(Token![:]) {
        return Err(input.error("a constant of a model has no type: write `const NAME = value;`"));
    }
    input.parse::<Token![=]>()?;
    let value = input.parse()?;
    body.consts.last_mut().expect("pushed above").value = Some(value);
    semicolon(input, "the constant")
}

fn dims(input: ParseStream, place: Place, body: &mut Body) -> Result<()> {
    let word = input.parse::<keyword::dim>()?;
    if place == Place::Block {
        let message = "a block takes its dimensions as arguments: `block Name(DIM) { ... }`; `dim` stands in a model";
        return Err(syn::Error::new(word.span, message));
    }
    loop {
        body.dims.push(input.parse()?);
        if input.peek(Token![=]) {
            return Err(input.error("a `dim` gets its value in `new`; for a fixed value write `const NAME = value;`"));
        }
        if !input.peek(Token![,]) {
            return semicolon(input, "the dimension");
        }
        input.parse::<Token![,]>()?;
    }
}

/// `dtype f64;`
fn dtype(input: ParseStream, place: Place, body: &mut Body) -> Result<()> {
    let word = input.parse::<keyword::dtype>()?;
    if place == Place::Block {
        let message = "the layers of a block are of the element type of its model: `dtype` stands in a model";
        return Err(syn::Error::new(word.span, message));
    }
    if body.dtype.is_some() {
        return Err(syn::Error::new(word.span, "the element type of the layers is given already"));
    }
    let name: Ident = input.parse().map_err(|e| syn::Error::new(e.span(), "expected `dtype f32;` or `dtype f64;`"))?;
    if name != "f32" && name != "f64" {
        return Err(syn::Error::new(name.span(), format!("layers are of f32 or f64, not `{name}`")));
    }
    body.dtype = Some(name);
    semicolon(input, "the element type")
}

fn semicolon(input: ParseStream, what: &str) -> Result<()> {
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
        return Ok(());
    }
    Err(input.error(format!("expected `;` after {what}")))
}

fn block(input: ParseStream, body: &mut Body, diagnostics: &mut Diagnostics) -> Result<()> {
    input.parse::<keyword::block>()?;
    let name: Ident = input.parse()?;
    body.blocks.push(Block { name, params: Vec::new(), body: Body::default(), complete: false });
    let mut params = Vec::new();
    if input.peek(token::Paren) {
        let inner;
        parenthesized!(inner in input);
        params = inner.parse_terminated(block_param, Token![,])?.into_iter().collect();
    }
    let inner;
    braced!(inner in input);
    let items = items(&inner, Place::Block, diagnostics);
    let block = body.blocks.last_mut().expect("pushed above");
    block.params = params;
    block.body = items;
    block.complete = true;
    Ok(())
}

fn block_param(input: ParseStream) -> Result<BlockParam> {
    let name = input.parse()?;
    if input.peek(Token![:]) {
        return Err(input.error("an argument of a block is a number and has no type"));
    }
    let default = if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        Some(input.parse()?)
    } else {
        None
    };
    Ok(BlockParam { name, default })
}

/// A layer expression.
fn layer(input: ParseStream) -> Result<Layer> {
    if input.peek(token::Bracket) {
        let inner;
        let bracket = bracketed!(inner in input);
        let mut layers = Vec::new();
        while !inner.is_empty() {
            layers.push(layer(&inner)?);
            if inner.peek(Token![;]) && layers.len() == 1 {
                inner.parse::<Token![;]>()?;
                let count = inner.parse()?;
                end_of(&inner, "a repetition is `[Layer; count]`")?;
                let one = layers.pop().expect("holds one layer");
                return Ok(Layer::Repeat(Box::new(one), count));
            }
            if !inner.is_empty() {
                inner.parse::<Token![,]>()?;
            }
        }
        return Ok(Layer::Sequence(bracket, layers));
    }
    if !input.peek(Ident) {
        return Err(input.error("expected a layer: `Linear(64 => 10)`, `[A, B]` or `[A; 4]`"));
    }
    let name = input.parse()?;
    let mut args = Vec::new();
    let mut parens = None;
    if input.peek(token::Paren) {
        let inner;
        parens = Some(parenthesized!(inner in input));
        args = inner.parse_terminated(layer_arg, Token![,])?.into_iter().collect();
    }
    Ok(Layer::Call(LayerCall { name, args, parens }))
}

fn layer_arg(input: ParseStream) -> Result<LayerArg> {
    if input.peek(Ident) && input.peek2(Token![=]) && !input.peek2(Token![==]) && !input.peek2(Token![=>]) {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        return Ok(LayerArg::Named(name, input.parse()?));
    }
    let first = input.parse()?;
    if input.peek(Token![=>]) {
        input.parse::<Token![=>]>()?;
        return Ok(LayerArg::Map(first, input.parse()?));
    }
    Ok(LayerArg::Positional(first))
}

fn function(
    input: ParseStream,
    attrs: Vec<Attribute>,
    vis: Visibility,
    place: Place,
    body: &mut Body,
    diagnostics: &mut Diagnostics,
) -> Result<()> {
    input.parse::<Token![fn]>()?;
    let name: Ident = input.parse()?;
    let (train, attrs) = take_train(attrs, diagnostics);
    if place == Place::Block {
        if let Some(train) = &train {
            diagnostics.at_span(train.span, "`#[train]` goes on a function of the model, not of a block");
        }
        if !matches!(vis, Visibility::Inherited) {
            diagnostics.at(&vis, "functions of a block are called through the layer and have no visibility");
        }
    }
    let end = name.span();
    body.functions.push(Function { attrs, train, vis, name, signature: None, body: Vec::new(), end });
    let this = body.functions.last_mut().expect("pushed above");
    match signature(input) {
        Ok(signature) => this.signature = Some(signature),
        Err(error) => {
            diagnostics.push(error);
            while !input.is_empty() && !input.peek(token::Brace) && !at_item(input) {
                input.parse::<proc_macro2::TokenTree>()?;
            }
        }
    }
    if !input.peek(token::Brace) {
        return match this.signature {
            Some(_) => Err(input.error("expected the body of the function, `{ ... }`")),
            None => Ok(()),
        };
    }
    let inner;
    let brace = braced!(inner in input);
    this.end = brace.span.close();
    this.body = statements(inner.parse()?, diagnostics);
    Ok(())
}

fn signature(input: ParseStream) -> Result<Signature> {
    if input.peek(Token![<]) {
        return Err(input.error("functions of a model have no generics: upper-case names in shapes are symbolic"));
    }
    let inner;
    parenthesized!(inner in input);
    let params = inner.parse_terminated(param, Token![,])?.into_iter().collect();
    if !input.peek(Token![->]) {
        return Err(input.error("expected the result type, such as `-> f32[N, 10]`"));
    }
    input.parse::<Token![->]>()?;
    if input.peek(token::Paren) {
        let inner;
        let paren = parenthesized!(inner in input);
        let types: Vec<TypeExpr> = inner.parse_terminated(type_expr, Token![,])?.into_iter().collect();
        if types.is_empty() {
            return Err(syn::Error::new(paren.span.join(), "a function of a model returns at least one tensor"));
        }
        return Ok(Signature { params, results: Results::Tuple(types) });
    }
    Ok(Signature { params, results: Results::One(type_expr(input)?) })
}

fn param(input: ParseStream) -> Result<Param> {
    if input.peek(Token![self]) || input.peek(Token![&]) || input.peek(Token![mut]) {
        return Err(input.error("arguments are tensors, `name: f32[N, 10]`; layers are in scope without `self`"));
    }
    let name: Ident = input.parse()?;
    if !input.peek(Token![:]) {
        return Err(input.error(format!("expected a type: `{name}: f32[N, 10]`")));
    }
    input.parse::<Token![:]>()?;
    Ok(Param { name, ty: type_expr(input)? })
}

fn type_expr(input: ParseStream) -> Result<TypeExpr> {
    if !input.peek(Ident) {
        return Err(input.error("expected a tensor type such as `f32[N, 10]`, or `f32` for a scalar"));
    }
    let dtype: Ident = input.parse()?;
    if !input.peek(token::Bracket) {
        return Ok(TypeExpr { dtype, dims: Vec::new() });
    }
    let inner;
    bracketed!(inner in input);
    let dims: Punctuated<Expr, Token![,]> = inner.parse_terminated(Expr::parse_without_eager_brace, Token![,])?;
    Ok(TypeExpr { dtype, dims: dims.into_iter().collect() })
}

/// Splits `#[train]` from the attributes that go onto the method.
fn take_train(attrs: Vec<Attribute>, diagnostics: &mut Diagnostics) -> (Option<Train>, Vec<Attribute>) {
    let mut train = None;
    let mut rest = Vec::new();
    for attr in attrs {
        let word = attr.path().get_ident().map(Ident::to_string).unwrap_or_default();
        if word != "train" {
            let hint = did_you_mean(&word, ["train"]);
            if hint.is_empty() {
                rest.push(attr);
            } else {
                diagnostics.at(attr.path(), format!("there is no attribute `{word}`{hint}"));
                train = Some(Train { span: syn::spanned::Spanned::span(attr.path()), only: Vec::new() });
            }
        } else if train.is_some() {
            diagnostics.at(&attr, "`#[train]` stands here twice");
        } else {
            match train_attr(&attr) {
                Ok(parsed) => train = Some(parsed),
                Err(error) => {
                    diagnostics.push(error);
                    train = Some(Train { span: syn::spanned::Spanned::span(attr.path()), only: Vec::new() });
                }
            }
        }
    }
    (train, rest)
}

fn train_attr(attr: &Attribute) -> Result<Train> {
    let span = syn::spanned::Spanned::span(attr.path());
    if let syn::Meta::Path(_) = &attr.meta {
        return Ok(Train { span, only: Vec::new() });
    }
    let only = attr.parse_args_with(|input: ParseStream| {
        if !input.peek(keyword::only) {
            return Err(input.error("expected `only = layer, other_layer`"));
        }
        input.parse::<keyword::only>()?;
        input.parse::<Token![=]>()?;
        let mut names = vec![dotted_name(input)?];
        while input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            if !input.is_empty() {
                names.push(dotted_name(input)?);
            }
        }
        end_of(input, "expected `,` or `)`")?;
        Ok(names)
    })?;
    Ok(Train { span, only })
}

/// `head` or `head.0` or `blocks.0.attn`
fn dotted_name(input: ParseStream) -> Result<(String, TokenStream)> {
    let mut tokens = input.parse::<Ident>()?.into_token_stream();
    while input.peek(Token![.]) {
        input.parse::<Token![.]>()?.to_tokens(&mut tokens);
        if input.peek(Ident) {
            input.parse::<Ident>()?.to_tokens(&mut tokens);
        } else {
            input.parse::<syn::Lit>()?.to_tokens(&mut tokens);
        }
    }
    let name = tokens.clone().into_iter().map(|token| token.to_string()).collect();
    Ok((name, tokens))
}

fn end_of(input: ParseStream, message: &str) -> Result<()> {
    if input.is_empty() { Ok(()) } else { Err(input.error(message)) }
}

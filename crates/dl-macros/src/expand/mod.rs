//! The expansion: a struct for each model, its methods, and the module as text.
//!
//! The code holds no logic: it names the function and its types and hands over to the runtime. It uses absolute paths
//! only (`::core`, and the path of `dl` given as the first token), so that nothing the user declares can shadow what it
//! means; its own local names carry the span of the macro's definition and cannot meet the user's.
//!
//! A model in error expands to the same struct and methods, around an empty module that never runs, and one
//! `compile_error!` for each error, so that nothing else in the crate is reported.

use std::collections::HashSet;

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::Attribute;
use syn::ext::IdentExt;

use crate::diag::Diagnostics;
use crate::resolve::{GradientGraphs, PublicFunction, Resolved, resolve};
use crate::syntax::{Function, Model, Results, Signature, TypeExpr, parse};

/// The highest rank for which ndarray has a static dimension.
const STATIC_RANKS: usize = 6;

/// Expands `[path of dl] model Name { ... } ...`.
pub fn expand(input: TokenStream) -> TokenStream {
    let mut tokens = input.into_iter();
    let root = match tokens.next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => group.stream(),
        _ => return quote!(::core::compile_error! { "use this macro as `dl::model!`" }),
    };
    let mut diagnostics = Diagnostics::default();
    let models = parse(tokens.collect(), &mut diagnostics);
    let complete = diagnostics.is_empty();
    let mut output = TokenStream::new();
    for model in &models {
        let mut of_model = Diagnostics::default();
        let resolved = resolve(model, complete, &mut of_model);
        output.extend(model_items(&root, model, &resolved));
        diagnostics.extend(of_model);
    }
    output.extend(diagnostics.to_tokens());
    output
}

/// The struct and its methods.
fn model_items(root: &TokenStream, model: &Model, resolved: &Resolved<'_>) -> TokenStream {
    let Model { attrs, vis, name, .. } = model;
    let doc = doc_unless(attrs, || format!("The model `{name}`."));
    let constructor = constructor(root, model, resolved);
    let methods = unique(resolved.functions.iter().flat_map(|function| methods(root, function)).collect());
    quote! {
        #doc
        #(#attrs)*
        #vis struct #name {
            model: #root::__private::Model,
        }

        #[allow(dead_code)]
        impl #name {
            #constructor
            #(#methods)*
        }

        impl ::core::ops::Deref for #name {
            type Target = #root::__private::Model;

            fn deref(&self) -> &Self::Target {
                &self.model
            }
        }

        impl ::core::ops::DerefMut for #name {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.model
            }
        }
    }
}

/// `new` and `with_options`, with a size for each `dim` of the model in front of the seed.
fn constructor(root: &TokenStream, model: &Model, resolved: &Resolved<'_>) -> TokenStream {
    let text = resolved.module.as_ref().map(dl_ir::text::print_module).unwrap_or_default();
    let dims = &model.body.dims;
    let args: Vec<Ident> = dims.iter().map(|d| Ident::new(&d.to_string().to_lowercase(), d.span())).collect();
    let names = dims.iter().map(Ident::to_string);
    let (seed, options, source) = (hygienic("seed"), hygienic("options"), hygienic("SOURCE"));
    let mut sizes = String::new();
    for (dim, arg) in dims.iter().zip(&args) {
        sizes.push_str(&format!("\n\n- `{arg}`: the size of `{dim}`"));
    }
    let errors = "\n\n# Errors\nIf a size is zero or breaks a fact that the model requires, or there is no memory for the parameters";
    let doc = format!(
        "Makes the model with parameters that start as in PyTorch, from random numbers of this seed, and the options of \
         the environment.{sizes}{errors}, or if the environment sets an option to something that means nothing."
    );
    let options_doc = format!("As `new`, with options of the program instead of the environment's.{sizes}{errors}.");
    quote! {
        #[doc = #doc]
        pub fn new(
            #(#args: ::core::primitive::usize,)*
            #seed: #root::__private::Seed,
        ) -> ::core::result::Result<Self, #root::__private::Error> {
            Self::with_options(#(#args,)* #seed, #root::__private::Options::from_env()?)
        }

        #[doc = #options_doc]
        pub fn with_options(
            #(#args: ::core::primitive::usize,)*
            #seed: #root::__private::Seed,
            #options: #root::__private::Options,
        ) -> ::core::result::Result<Self, #root::__private::Error> {
            static #source: #root::__private::Source = #root::__private::Source {
                text: #text,
                file: ::core::file!(),
            };
            ::core::result::Result::Ok(Self {
                model: #root::__private::Model::with_options(&#source, &[#((#names, #args)),*], #seed, #options)?,
            })
        }
    }
}

/// A method of the struct.
struct Method {
    name: Ident,
    /// Whether it is a function of the model, not one that comes with it.
    declared: bool,
    code: TokenStream,
}

/// Of methods with the same name one, the declared one if there is one: names that clash have been reported.
fn unique(methods: Vec<Method>) -> Vec<TokenStream> {
    let mut taken: HashSet<String> = ["new", "with_options"].map(String::from).into();
    let declared: HashSet<String> = methods.iter().filter(|m| m.declared).map(|m| m.name.unraw().to_string()).collect();
    let mut keep = |method: &Method| {
        let name = method.name.unraw().to_string();
        (method.declared || !declared.contains(&name)) && taken.insert(name)
    };
    methods.into_iter().filter(|method| keep(method)).map(|method| method.code).collect()
}

/// The methods of a public function: itself, and what trains it.
fn methods(root: &TokenStream, function: &PublicFunction<'_>) -> Vec<Method> {
    let Some(signature) = &function.syntax.signature else { return vec![] };
    let mut methods = call_methods(root, function, signature);
    if function.syntax.train.is_some() {
        methods.extend(train_methods(root, function, signature));
    }
    methods
}

fn call_methods(root: &TokenStream, function: &PublicFunction<'_>, signature: &Signature) -> Vec<Method> {
    let Function { attrs, vis, name, .. } = function.syntax;
    let doc = doc_unless(attrs, || format!("Runs `{name}`: `{}`.", signature_text(function.syntax, signature)));
    let index = function.eval;
    let Parameters { generics, params, args } = parameters(root, signature);
    let outputs = hygienic("outputs");
    let explain = format_ident!("explain_{name}");
    let explain_doc =
        format!("What `{name}` is compiled to for arguments like these: fused kernels and the memory plan.");
    let types = signature.results.types();
    let results: Vec<TokenStream> = types.iter().map(|ty| result_type(root, ty)).collect();
    let takes: Vec<TokenStream> = types.iter().map(|ty| take_result(root, ty, &outputs)).collect();
    let (result, value) = match results.as_slice() {
        [one] if !matches!(signature.results, Results::Tuple(..)) => (quote!(#one), quote!(#(#takes)*)),
        many => (quote!((#(#many,)*)), quote!((#(#takes,)*))),
    };
    // With memory that is there already, where there is an array to give.
    let into = types.iter().any(|ty| !ty.dims.is_empty()).then(|| {
        let into = format_ident!("{name}_into");
        let into_doc = format!(
            "As `{name}`, into `out`, whose memory is used again if it has as many elements; its shape and content before do \
             not matter. After an error its arrays are empty."
        );
        let out = hygienic("out");
        let places = (0..types.len()).map(|at| match signature.results {
            Results::One(_) => quote!(#out),
            Results::Tuple(_) => {
                let at = syn::Index::from(at);
                quote!(&mut #out.#at)
            }
        });
        let spares = types.iter().zip(places).map(|(ty, place)| match ty.dims.is_empty() {
            true => quote!(::core::option::Option::None),
            false => quote!(#root::__private::spare(#place)),
        });
        let code = quote! {
            #[doc = #into_doc]
            #vis fn #into #generics(
                &self,
                #(#params,)*
                #out: &mut #result,
            ) -> ::core::result::Result<(), #root::__private::Error> {
                let mut #outputs = self.model.call_with(#index, &[#(#args),*], ::std::vec![#(#spares),*])?;
                *#out = #value;
                ::core::result::Result::Ok(())
            }
        };
        Method { name: into, declared: false, code }
    });
    let call_code = quote! {
        #doc
        #(#attrs)*
        #vis fn #name #generics(&self, #(#params),*) -> ::core::result::Result<#result, #root::__private::Error> {
            let mut #outputs = self.model.call(#index, &[#(#args),*])?;
            ::core::result::Result::Ok(#value)
        }
    };
    let explain_code = quote! {
        #[doc = #explain_doc]
        #vis fn #explain #generics(
            &self,
            #(#params),*
        ) -> ::core::result::Result<::std::string::String, #root::__private::Error> {
            self.model.explain(#index, &[#(#args),*])
        }
    };
    let call = Method { name: name.clone(), declared: true, code: call_code };
    let explain = Method { name: explain, declared: false, code: explain_code };
    [Some(call), into, Some(explain)].into_iter().flatten().collect()
}

fn train_methods(root: &TokenStream, function: &PublicFunction<'_>, signature: &Signature) -> Vec<Method> {
    let Function { vis, name, .. } = function.syntax;
    let GradientGraphs { train: train_index, grad: grad_index } = function.gradients.unwrap_or_default();
    let Parameters { generics, params, args } = parameters(root, signature);
    let optimizer = hygienic("optimizer");
    let loss = signature.results.types().first().map(element);
    let train = format_ident!("train_{name}");
    let grad = format_ident!("grad_{name}");
    let explain = format_ident!("explain_train_{name}");
    let explain_doc = format!(
        "What `{train}` is compiled to with this optimizer and for arguments like these: fused kernels of forward pass, \
         backward pass and update, and the memory plan."
    );
    let updated = match function.syntax.train.as_ref().map(|train| train.only.as_slice()) {
        None | Some([]) => "all parameters that it depends on".to_string(),
        Some(only) => {
            let names: Vec<String> = only.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!("the parameters of {}", names.join(", "))
        }
    };
    let train_doc = format!(
        "One step of training: computes `{name}` in training mode and its gradients, and lets the optimizer update {updated}. \
         Returns the value of `{name}` before the update."
    );
    let grad_doc = format!(
        "The value of `{name}` in evaluation mode and its gradients with respect to {updated}. Changes nothing."
    );
    let span = name.span();
    let train_code = quote_spanned! {span=>
        #[doc = #train_doc]
        #vis fn #train #generics(
            &mut self,
            #optimizer: &mut dyn #root::__private::Optimizer,
            #(#params),*
        ) -> ::core::result::Result<#loss, #root::__private::Error> {
            self.model.train(#train_index, #optimizer, &[#(#args),*])
        }
    };
    let grad_code = quote_spanned! {span=>
        #[doc = #grad_doc]
        #vis fn #grad #generics(
            &self,
            #(#params),*
        ) -> ::core::result::Result<
            (#loss, #root::__private::Gradients),
            #root::__private::Error,
        > {
            self.model.grad(#grad_index, &[#(#args),*])
        }
    };
    let explain_code = quote_spanned! {span=>
        #[doc = #explain_doc]
        #vis fn #explain #generics(
            &self,
            #optimizer: &dyn #root::__private::Optimizer,
            #(#params),*
        ) -> ::core::result::Result<::std::string::String, #root::__private::Error> {
            self.model.explain_train(#train_index, #optimizer, &[#(#args),*])
        }
    };
    let methods = [(train, train_code), (grad, grad_code), (explain, explain_code)];
    methods.into_iter().map(|(name, code)| Method { name, declared: false, code }).collect()
}

/// The parameters of a method.
struct Parameters {
    /// The lifetime of borrowed arrays, if there are any.
    generics: Option<TokenStream>,
    /// Names and types.
    params: Vec<TokenStream>,
    /// The expressions that erase their types.
    args: Vec<TokenStream>,
}

/// The parameters of the methods of a function.
fn parameters(root: &TokenStream, signature: &Signature) -> Parameters {
    let one = |param: &crate::syntax::Param| {
        let name = &param.name;
        let (element, dimension) = (element(&param.ty), dimension(root, &param.ty));
        let erased = quote!(#root::__private::IntoArg::<#element, #dimension>::into_arg(#name));
        let accepted = match param.ty.dims.is_empty() {
            true => element,
            false => quote!(impl #root::__private::IntoArg<'a, #element, #dimension>),
        };
        (quote!(#name: #accepted), erased)
    };
    let (params, args) = signature.params.iter().map(one).unzip();
    let borrows = signature.params.iter().any(|param| !param.ty.dims.is_empty());
    Parameters { generics: borrows.then(|| quote!(<'a>)), params, args }
}

fn result_type(root: &TokenStream, ty: &TypeExpr) -> TokenStream {
    let element = element(ty);
    if ty.dims.is_empty() {
        return element;
    }
    let dimension = dimension(root, ty);
    quote!(#root::__private::ndarray::Array<#element, #dimension>)
}

fn take_result(root: &TokenStream, ty: &TypeExpr, outputs: &Ident) -> TokenStream {
    let (element, dimension) = (element(ty), dimension(root, ty));
    let array = quote!(#outputs.take::<#element, #dimension>()?);
    if ty.dims.is_empty() { quote!(#array.into_scalar()) } else { array }
}

/// The Rust type of the elements; `f32` for a name that is no element type, which has been reported.
fn element(ty: &TypeExpr) -> TokenStream {
    let name = ty.dtype.to_string();
    let known = if dl_ir::DType::from_name(&name).is_some() { name.as_str() } else { "f32" };
    let ident = Ident::new(known, Span::call_site());
    quote!(::core::primitive::#ident)
}

/// The ndarray dimension of the declared rank.
fn dimension(root: &TokenStream, ty: &TypeExpr) -> TokenStream {
    let rank = ty.dims.len();
    let name = if rank <= STATIC_RANKS { format_ident!("Ix{rank}") } else { format_ident!("IxDyn") };
    quote!(#root::__private::ndarray::#name)
}

/// A local name that cannot meet one of the user's.
fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// A doc comment, unless there is one, so that `missing_docs` stays silent.
fn doc_unless(attrs: &[Attribute], text: impl FnOnce() -> String) -> TokenStream {
    if attrs.iter().any(|attr| attr.path().is_ident("doc")) {
        return TokenStream::new();
    }
    let text = text();
    quote!(#[doc = #text])
}

/// `forward(x: f32[N, 10]) -> f32[N]`, for documentation.
fn signature_text(function: &Function, signature: &Signature) -> String {
    let params: Vec<String> = signature.params.iter().map(|p| format!("{}: {}", p.name, p.ty.text())).collect();
    format!("{}({}) -> {}", function.name, params.join(", "), signature.results.text())
}

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;

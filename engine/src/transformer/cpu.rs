//! The CPU backend: one thread's part of a forward pass.

use core::ops::Range;

use super::backend::{Activations, Addition, Backend, Forms};
use super::state::{KvCache, LayerCache, State};
use crate::bytes::{Claim, Cut, Shared, Team};
use crate::kernels::attention::{Attend, KvElement};
use crate::kernels::elementwise;
use crate::kernels::matmul::matmul;
use crate::math;
use crate::quant::{Activation, ColumnData, Columns, dequantize_row, quantize};
use crate::simd::{Kernel, Level, Simd};
use crate::spec::{Attention, Gate, Rope, RopeLayout};
use crate::weights::{Linear, Matrix};

/// Bytes of a matrix that make a chunk worth claiming.
const CHUNK_BYTES: usize = 32 << 10;
/// Rows in a chunk are a multiple of this, for kernels that work on several at a time.
const ROW_MULTIPLE: usize = 8;
/// Rows in a chunk where a batch of tokens makes each row worth more.
const BATCH_ROWS: usize = 32;
/// Tokens of a batch whose attention is one chunk.
const ATTENTION_TOKENS: usize = 8;
/// Logits in a chunk of elementwise work.
const LOGITS_CHUNK: usize = 4096;

/// One thread of a pass over a batch of one sequence's consecutive tokens.
pub struct Cpu<'a> {
    /// The threads.
    pub team: &'a Team<'a>,
    /// The instruction set.
    pub level: Level,
    /// KV cache and scratch.
    pub state: &'a State,
    /// Shapes of rotary embeddings by index.
    pub ropes: &'a [Rope],
    /// The batch.
    pub tokens: &'a [u32],
    /// Position of the batch's first token.
    pub position: usize,
}

impl Backend for Cpu<'_> {
    fn tokens(&self) -> usize {
        self.tokens.len()
    }

    fn embed(&self, table: &Matrix, scale: f32) {
        self.team.each(self.tokens.len(), |claim| {
            let token = self.tokens[claim.index()] as usize;
            let mut residual = self.state.residual.write(claim, self.row_cut(table.columns));
            let row = residual.row(0);
            dequantize_row(table.kind, table.rows(token..token + 1), row);
            row.iter_mut().for_each(|x| *x *= scale);
        });
    }

    fn angles(&self, ropes: &[Rope]) {
        let width = ropes.iter().map(Rope::dimensions).sum();
        let chunks = if width == 0 { 0 } else { self.tokens.len() };
        self.team.each(chunks, |claim| {
            let position = (self.position + claim.index()) as f64;
            let mut angles = self.state.angles.write(claim, self.row_cut(width));
            let mut rest = angles.row(0);
            for rope in ropes {
                let (row, behind) = rest.split_at_mut(rope.dimensions());
                rest = behind;
                let (cosines, sines) = row.split_at_mut(rope.frequencies.len());
                for ((cos, sin), frequency) in cosines.iter_mut().zip(sines).zip(&rope.frequencies) {
                    let (s, c) = math::sin_cos(position * frequency);
                    (*cos, *sin) = (c as f32 * rope.magnitude, s as f32 * rope.magnitude);
                }
            }
        });
    }

    fn add(&self, addition: Addition<'_>, epsilon: f32) {
        let width = self.state.residual.len() / self.state.limits.batch;
        self.team.each(self.tokens.len(), |claim| {
            let mut residual = self.state.residual.write(claim, self.row_cut(width));
            let output = &self.state.activations(Activations::Output).read(claim)[claim.index() * width..][..width];
            self.level.run(Add { addition, epsilon, output, residual: residual.row(0) });
        });
    }

    fn norm(&self, tokens: Range<usize>, addition: Option<Addition<'_>>, weight: &[f32], epsilon: f32, forms: Forms) {
        let width = weight.len();
        let cut = Cut {
            start: tokens.start * width,
            end: tokens.end * width,
            ..Cut::pieces(self.state.residual.len(), width)
        };
        self.team.each(tokens.len(), |claim| {
            let mut residual = self.state.residual.write(claim, cut);
            let residual = residual.row(0);
            if let Some(addition) = addition {
                let row = tokens.start + claim.index();
                let output = &self.state.activations(Activations::Output).read(claim)[row * width..][..width];
                self.level.run(Add { addition, epsilon, output, residual });
            }
            self.set_operand(claim, tokens.len(), width, forms, Norm { residual, weight, epsilon });
        });
    }

    fn operand(&self, from: Activations, length: usize, forms: Forms) {
        self.team.each(self.tokens.len(), |claim| {
            let row = &self.state.activations(from).read(claim)[claim.index() * length..][..length];
            self.set_operand(claim, self.tokens.len(), length, forms, Copy { row });
        });
    }

    fn matmul(&self, count: usize, products: &[(&Linear, Activations)]) {
        let chunks = |linear: &Linear| linear.matrix.rows.div_ceil(rows_per_chunk(&linear.matrix, count));
        let total = products.iter().map(|(linear, _)| chunks(linear)).sum();
        self.team.each(total, |claim| {
            let mut first = 0;
            for (linear, to) in products {
                let end = first + chunks(linear);
                if (first..end).contains(&claim.index()) {
                    return self.product(claim, first, linear, count, self.state.activations(*to));
                }
                first = end;
            }
        });
    }

    fn rotate_and_cache(&self, layer: usize, attention: &Attention, norms: Option<[&[f32]; 2]>, epsilon: f32) {
        self.team.each(self.tokens.len(), |claim| {
            let heads = HeadsOfToken { cpu: self, claim, attention, norms, epsilon };
            match &self.state.cache {
                KvCache::F16(layers) => heads.rotate_and_cache(&layers[layer]),
                KvCache::F32(layers) => heads.rotate_and_cache(&layers[layer]),
            }
        });
    }

    fn attend(&self, layer: usize, attention: &Attention) {
        match &self.state.cache {
            KvCache::F16(layers) => self.attend_over(&layers[layer], attention),
            KvCache::F32(layers) => self.attend_over(&layers[layer], attention),
        }
    }

    fn gate(&self, activation: Gate, length: usize, forms: Forms) {
        self.team.each(self.tokens.len(), |claim| {
            let row = |which| &self.state.activations(which).read(claim)[claim.index() * length..][..length];
            let gated = Gated { activation, gate: row(Activations::Gate), up: row(Activations::Up) };
            self.set_operand(claim, self.tokens.len(), length, forms, gated);
        });
    }

    fn finish_logits(&self, count: usize, scale: f32, cap: Option<f32>) {
        let len = count * self.state.limits.vocabulary;
        self.team.each(len.div_ceil(LOGITS_CHUNK), |claim| {
            let mut logits = self.state.activations(Activations::Logits).write(claim, Cut::pieces(len, LOGITS_CHUNK));
            for x in logits.row(0) {
                *x *= scale;
                *x = cap.map_or(*x, |cap| elementwise::softcap(*x, cap));
            }
        });
    }
}

impl Cpu<'_> {
    /// One row of a buffer for each token of the batch.
    fn row_cut(&self, width: usize) -> Cut {
        Cut::pieces(self.tokens.len() * width, width)
    }

    /// Writes the claimed row of the operand, of `rows` rows, in each of the forms.
    fn set_operand(&self, claim: &Claim, rows: usize, length: usize, forms: Forms, fill: impl Fill) {
        let operand = &self.state.operand;
        let mut row = operand.f32.write(claim, Cut::pieces(rows * length, length));
        let row = row.row(0);
        self.level.run(FillRow { fill, row: &mut *row });
        let forms =
            [(forms.q8, Activation::Q8, &operand.q8, 32, 32), (forms.q8k, Activation::Q8K, &operand.q8k, 256, 16)];
        for (wanted, kind, to, block, sum) in forms {
            if !wanted {
                continue;
            }
            let part = |per: usize| Cut::pieces(rows * length / per, length / per);
            self.level.run(Quantize {
                kind,
                row,
                codes: to.codes.write(claim, part(1)).row(0),
                scales: to.scales.write(claim, part(block)).row(0),
                sums: to.sums.write(claim, part(sum)).row(0),
            });
        }
    }

    /// The claimed rows of one product.
    fn product(&self, claim: &Claim, first: usize, linear: &Linear, count: usize, to: &Shared<f32>) {
        let Matrix { kind, rows, columns: length, .. } = linear.matrix;
        let width = rows_per_chunk(&linear.matrix, count);
        let start = (claim.index() - first) * width;
        let part = start..(start + width).min(rows);
        let columns =
            Columns { k: length, n: count, data: self.operand_data(claim, linear.activation(), count * length) };
        let mut out = to.write(claim, Cut::columns(count, rows, width).from_chunk(first));
        self.level.run(Product { kind, rows: linear.matrix.rows(part.clone()), columns: &columns, out: &mut out });
        if linear.scale == 1.0 && linear.bias.is_none() {
            return;
        }
        for row in 0..count {
            let row = out.row(row);
            row.iter_mut().for_each(|x| *x *= linear.scale);
            let bias = linear.bias.as_deref().map_or(&[][..], |bias| &bias[part.clone()]);
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    }

    fn operand_data<'c>(&'c self, claim: &'c Claim, kind: Activation, len: usize) -> ColumnData<'c> {
        let operand = &self.state.operand;
        let quantized = |from: &'c super::state::Quantized, block: usize, sum: usize| {
            let codes = &from.codes.read(claim)[..len];
            (codes, &from.scales.read(claim)[..len / block], &from.sums.read(claim)[..len / sum])
        };
        match kind {
            Activation::F32 => ColumnData::F32(&operand.f32.read(claim)[..len]),
            Activation::Q8 => {
                let (qs, d, sums) = quantized(&operand.q8, 32, 32);
                ColumnData::Q8 { qs, d, sums }
            }
            Activation::Q8K => {
                let (qs, d, sums) = quantized(&operand.q8k, 256, 16);
                ColumnData::Q8K { qs, d, sums }
            }
        }
    }

    fn attend_over<E: KvElement>(&self, cache: &LayerCache<E>, attention: &Attention) {
        let Attention { heads, kv_heads, key_length, value_length, .. } = *attention;
        let (count, context) = (self.tokens.len(), self.state.limits.context);
        let width = heads / kv_heads * value_length;
        let cut = Cut { block: ATTENTION_TOKENS, ..Cut::columns(count, heads * value_length, width) };
        self.team.each(count.div_ceil(ATTENTION_TOKENS) * kv_heads, |claim| {
            let (block, kv_head) = (claim.index() / kv_heads, claim.index() % kv_heads);
            let first = block * ATTENTION_TOKENS;
            self.level.run(Attend {
                attention,
                kv_head,
                queries: self.state.activations(Activations::Query).read(claim),
                keys: &cache.keys.read(claim)[kv_head * context * key_length..][..context * key_length],
                values: &cache.values.read(claim)[kv_head * context * value_length..][..context * value_length],
                tokens: first..(first + ATTENTION_TOKENS).min(count),
                position: self.position,
                out: self.state.activations(Activations::Heads).write(claim, cut),
            });
        });
    }
}

/// Rows of a matrix in one chunk of its product with `count` vectors.
fn rows_per_chunk(matrix: &Matrix, count: usize) -> usize {
    let rows = CHUNK_BYTES.div_ceil(matrix.row_bytes());
    let rows = if count > 1 { rows.min(BATCH_ROWS) } else { rows };
    rows.next_multiple_of(ROW_MULTIPLE)
}

/// One token's queries, keys and values.
struct HeadsOfToken<'a> {
    cpu: &'a Cpu<'a>,
    claim: &'a Claim,
    attention: &'a Attention,
    norms: Option<[&'a [f32]; 2]>,
    epsilon: f32,
}

impl HeadsOfToken<'_> {
    fn rotate_and_cache<E: KvElement>(&self, cache: &LayerCache<E>) {
        let Attention { heads, kv_heads, key_length, value_length, .. } = *self.attention;
        let Cpu { state, .. } = *self.cpu;
        let [query_norm, key_norm] = self.norms.map_or([None; 2], |norms| norms.map(Some));
        let mut queries = state.activations(Activations::Query).write(self.claim, self.cpu.row_cut(heads * key_length));
        self.turn(queries.row(0), query_norm);
        let mut keys = state.activations(Activations::Key).write(self.claim, self.cpu.row_cut(kv_heads * key_length));
        self.turn(keys.row(0), key_norm);
        self.store(keys.row(0), &cache.keys, key_length);
        let width = kv_heads * value_length;
        let values = &state.activations(Activations::Value).read(self.claim)[self.claim.index() * width..][..width];
        self.store(values, &cache.values, value_length);
    }

    /// Norms and rotates every head.
    fn turn(&self, heads: &mut [f32], norm: Option<&[f32]>) {
        let angles = self.angles();
        let (length, epsilon) = (self.attention.key_length, self.epsilon);
        self.cpu.level.run(Turn { heads, length, norm, epsilon, angles });
    }

    /// The token's angles of the layer's rotary embedding, and its layout.
    fn angles(&self) -> Option<(&[f32], RopeLayout)> {
        let index = self.attention.rope?;
        let ropes = self.cpu.ropes;
        let width: usize = ropes.iter().map(Rope::dimensions).sum();
        let start: usize = ropes[..index].iter().map(Rope::dimensions).sum();
        let row = &self.cpu.state.angles.read(self.claim)[self.claim.index() * width + start..];
        Some((&row[..ropes[index].dimensions()], ropes[index].layout))
    }

    /// Writes every KV head's vector into the cache at the token's position.
    fn store<E: KvElement>(&self, vectors: &[f32], cache: &Shared<E>, length: usize) {
        let (context, position) = (self.cpu.state.limits.context, self.cpu.position);
        let cut = Cut {
            start: position * length,
            end: (position + self.cpu.tokens.len()) * length,
            ..Cut::columns(self.attention.kv_heads, context * length, length)
        };
        let mut tile = cache.write(self.claim, cut);
        for (head, vector) in vectors.chunks_exact(length).enumerate() {
            for (stored, x) in tile.row(head).iter_mut().zip(vector) {
                *stored = E::store(*x);
            }
        }
    }
}

/// What fills a row of the operand.
trait Fill {
    fn fill(self, row: &mut [f32]);
}

struct Norm<'a> {
    residual: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
}

impl Fill for Norm<'_> {
    #[inline(always)]
    fn fill(self, row: &mut [f32]) {
        elementwise::rms_norm(self.residual, self.weight, self.epsilon, row);
    }
}

struct Copy<'a> {
    row: &'a [f32],
}

impl Fill for Copy<'_> {
    #[inline(always)]
    fn fill(self, row: &mut [f32]) {
        row.copy_from_slice(self.row);
    }
}

struct Gated<'a> {
    activation: Gate,
    gate: &'a [f32],
    up: &'a [f32],
}

impl Fill for Gated<'_> {
    #[inline(always)]
    fn fill(self, row: &mut [f32]) {
        elementwise::gate(self.activation, self.gate, self.up, row);
    }
}

struct FillRow<'a, F> {
    fill: F,
    row: &'a mut [f32],
}

impl<F: Fill> Kernel for FillRow<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.fill.fill(self.row);
    }
}

struct Quantize<'a> {
    kind: Activation,
    row: &'a [f32],
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i16],
}

impl Kernel for Quantize<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        quantize(simd, self.kind, self.row, self.codes, self.scales, self.sums);
    }
}

struct Add<'a> {
    addition: Addition<'a>,
    epsilon: f32,
    output: &'a [f32],
    residual: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let scale = self.addition.scale;
        match self.addition.post_norm {
            Some(weight) => elementwise::add_normed(self.residual, self.output, weight, self.epsilon, scale),
            None => self.residual.iter_mut().zip(self.output).for_each(|(x, y)| *x += scale * y),
        }
    }
}

struct Product<'a, 'o> {
    kind: crate::quant::TensorType,
    rows: &'a [u8],
    columns: &'a Columns<'a>,
    out: &'a mut crate::bytes::Tile<'o, f32>,
}

impl Kernel for Product<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        matmul(simd, self.kind, self.rows, self.columns, self.out);
    }
}

struct Turn<'a> {
    heads: &'a mut [f32],
    length: usize,
    norm: Option<&'a [f32]>,
    epsilon: f32,
    angles: Option<(&'a [f32], RopeLayout)>,
}

impl Kernel for Turn<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for head in self.heads.chunks_exact_mut(self.length) {
            if let Some(weight) = self.norm {
                elementwise::rms_norm_in_place(head, weight, self.epsilon);
            }
            if let Some((angles, layout)) = self.angles {
                elementwise::rotate(head, angles, layout);
            }
        }
    }
}

//! The CPU backend: one thread's part of a forward pass.

use core::ops::Range;

use try_lock::TryLock;

use super::backend::{Activations, Addition, Backend, Forms};
use super::batch::{Batch, Placed};
use super::kv_cache::{Chunks, KvType, LayerKv, Plain, Q8};
use super::state::{Quantized, SPLIT_TOKENS, State};
use crate::bytes::{Claim, Cut, Shared, Team};
use crate::kernels::attention::{self, Attend, CHUNK, ChunkMut, MAX_LENGTH, Merge, Out, PartialSums};
use crate::kernels::elementwise;
use crate::kernels::matmul::{Rows, matmul};
use crate::kernels::{InScratch, Scratch};
use crate::math;
use crate::quant::{Activation, ColumnData, Columns, dequantize_row, quantize, quantize_rest, shorten};
use crate::simd::{Kernel, Level, Simd};
use crate::spec::{Attention, Gate, Rope, RopeLayout};
use crate::weights::{Linear, Matrix};

/// Bytes of a matrix that make a chunk worth claiming.
const CHUNK_BYTES: usize = 32 << 10;
/// Rows in a chunk are a multiple of this, for kernels that work on several at a time.
const ROW_MULTIPLE: usize = 16;
/// Rows in a chunk are a multiple of this where there is a batch of tokens: as many as a kernel unpacks at once.
const BATCH_ROWS: usize = 32;
/// Rows in a chunk where there is a batch of tokens, at most: each row is worth more then, but so is what a chunk costs
/// before its first row.
const MOST_BATCH_ROWS: usize = 192;
/// Chunks of a matrix for each thread, at least, where there is a batch of tokens.
const BATCH_CHUNKS: usize = 3;
/// Tokens whose rows are in one chunk of elementwise work, at most.
const MOST_TOKENS: usize = 8;
/// Chunks of elementwise work for each thread, where there are tokens enough.
const TOKEN_CHUNKS: usize = 4;
/// Logits in a chunk of elementwise work.
const LOGITS_CHUNK: usize = 4096;

/// What a thread's kernels need between their steps; it runs one at a time.
pub type ThreadScratch = TryLock<Scratch>;

/// One thread of a pass over a batch.
pub struct Cpu<'a> {
    /// The threads.
    pub team: &'a Team<'a>,
    /// The instruction set.
    pub level: Level,
    /// Scratch.
    pub state: &'a State,
    /// Shapes of rotary embeddings by index.
    pub ropes: &'a [Rope],
    /// The batch, whose KV caches are of one type.
    pub batch: &'a Batch<'a>,
    /// One for each thread.
    pub scratch: &'a [ThreadScratch],
}

impl Backend for Cpu<'_> {
    fn tokens(&self) -> usize {
        self.batch.tokens()
    }

    fn wanted(&self) -> usize {
        self.batch.wanted()
    }

    fn embed(&self, table: &Matrix, scale: f32) {
        self.team.each(self.tokens(), |claim| {
            let Placed { piece, rows } = self.batch.piece_of(claim.index());
            let token = piece.tokens[claim.index() - rows.start] as usize;
            let mut residual = self.state.residual.write(claim, self.row_cut(table.columns));
            let row = residual.row(0);
            dequantize_row(table.kind, table.rows(token..token + 1), row);
            row.iter_mut().for_each(|x| *x *= scale);
        });
    }

    fn angles(&self, ropes: &[Rope]) {
        let width = ropes.iter().map(Rope::dimensions).sum();
        let chunks = if width == 0 { 0 } else { self.tokens() };
        self.team.each(chunks, |claim| {
            let position = self.batch.piece_of(claim.index()).position(claim.index()) as f64;
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
        self.team.each(self.token_chunks(), |claim| self.add_rows(claim, addition, epsilon, width, |_| ()));
    }

    fn norm(&self, addition: Option<Addition<'_>>, weight: &[f32], epsilon: f32, forms: Forms) {
        let width = weight.len();
        let set = |claim: &Claim, residual: &[f32]| {
            self.set_operand(claim, self.token_cut(width), forms, Norm { residual, weight, epsilon });
        };
        self.team.each(self.token_chunks(), |claim| match addition {
            Some(addition) => self.add_rows(claim, addition, epsilon, width, |residual| set(claim, residual)),
            None => set(claim, self.tokens_of(claim, &self.state.residual, width)),
        });
    }

    fn norm_wanted(&self, weight: &[f32], epsilon: f32, forms: Forms) {
        let width = weight.len();
        self.team.each(self.wanted(), |claim| {
            let row = self.batch.wanted_row(claim.index());
            let residual = &self.state.residual.read(claim)[row * width..][..width];
            let rows = TokenCut { rows: self.wanted(), each: 1, width };
            self.set_operand(claim, rows, forms, Norm { residual, weight, epsilon });
        });
    }

    fn matmul(&self, count: usize, products: &[(&Linear, Activations)], next: &[&Linear]) {
        let total = products.iter().map(|(linear, _)| self.chunks(linear, count)).sum();
        let own = self.team.own(total);
        let next_chunk = self.team.own(next.iter().map(|linear| self.chunks(linear, count)).sum()).start;
        self.team.each(total, |claim| {
            let after = match claim.index() + 1 {
                chunk if own.contains(&chunk) => {
                    self.rows_from(products.iter().map(|(linear, _)| *linear), count, chunk)
                }
                _ => self.rows_from(next.iter().copied(), count, next_chunk),
            };
            let mut first = 0;
            for (linear, to) in products {
                let end = first + self.chunks(linear, count);
                if (first..end).contains(&claim.index()) {
                    return self.product(claim, first, linear, count, self.state.activations(*to), after);
                }
                first = end;
            }
        });
    }

    fn rotate_and_cache(&self, layer: usize, attention: &Attention, norms: Option<[&[f32]; 2]>, epsilon: f32) {
        let turning = Turning { cpu: self, attention, norms, epsilon };
        match self.kv() {
            KvType::F16 => turning.rotate_and_cache::<Plain<u16>>(layer),
            KvType::F32 => turning.rotate_and_cache::<Plain<f32>>(layer),
            KvType::Q8_0 => turning.rotate_and_cache::<Q8>(layer),
        }
    }

    fn attend(&self, layer: usize, attention: &Attention, forms: Forms) {
        match self.kv() {
            KvType::F16 => self.attend_over::<Plain<u16>>(layer, attention, forms),
            KvType::F32 => self.attend_over::<Plain<f32>>(layer, attention, forms),
            KvType::Q8_0 => self.attend_over::<Q8>(layer, attention, forms),
        }
    }

    fn gate(&self, activation: Gate, length: usize, forms: Forms) {
        self.team.each(self.token_chunks(), |claim| {
            let rows = |which| self.tokens_of(claim, self.state.activations(which), length);
            let gated = Gated { activation, gate: rows(Activations::Gate), up: rows(Activations::Up) };
            self.set_operand(claim, self.token_cut(length), forms, gated);
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
    /// The type of the batch's KV caches.
    fn kv(&self) -> KvType {
        self.batch.piece_of(0).piece.cache.kind()
    }

    /// One row of a buffer for each token of the batch.
    fn row_cut(&self, width: usize) -> Cut {
        Cut::pieces(self.tokens() * width, width)
    }

    /// Tokens in a chunk of elementwise work.
    fn tokens_per_chunk(&self) -> usize {
        (self.tokens() / (TOKEN_CHUNKS * self.team.threads())).clamp(1, MOST_TOKENS)
    }

    /// Chunks of elementwise work.
    fn token_chunks(&self) -> usize {
        self.tokens().div_ceil(self.tokens_per_chunk())
    }

    /// A row of `width` elements for each token, some in each chunk.
    fn token_cut(&self, width: usize) -> TokenCut {
        TokenCut { rows: self.tokens(), each: self.tokens_per_chunk(), width }
    }

    /// The rows of the claimed tokens.
    fn tokens_of<'c>(&'c self, claim: &'c Claim, buffer: &'c Shared<f32>, width: usize) -> &'c [f32] {
        &buffer.read(claim)[self.token_cut(width).range(claim)]
    }

    /// Adds to the residual stream of the claimed tokens, and hands that on.
    fn add_rows(&self, claim: &Claim, of: Addition<'_>, epsilon: f32, width: usize, next: impl FnOnce(&[f32])) {
        let mut residual = self.state.residual.write(claim, self.token_cut(width).per(1));
        let residual = residual.row(0);
        let output = self.tokens_of(claim, self.state.activations(Activations::Output), width);
        self.level.run(Add { addition: of, epsilon, output, residual, width });
        next(residual);
    }

    /// Writes the claimed rows of the operand in each of the forms.
    fn set_operand(&self, claim: &Claim, cut: TokenCut, forms: Forms, fill: impl Fill) {
        let operand = &self.state.operand;
        let mut row = operand.f32.write(claim, cut.per(1));
        let row = row.row(0);
        self.level.run(FillRows { fill, rows: &mut *row, width: cut.width });
        let Forms { wide, short, .. } = forms;
        for (wanted, to) in [(forms.q8, &operand.q8), (forms.q8k, &operand.q8k)] {
            if wanted {
                self.quantize_rows(claim, cut, wide, to, row);
            }
        }
        if short {
            self.level.run(Shorten { row });
        }
    }

    /// Quantizes the claimed rows `x`. Where they are `wide`, what second codes stand for is left of them.
    fn quantize_rows(&self, claim: &Claim, cut: TokenCut, wide: bool, to: &Quantized, x: &mut [f32]) {
        let (kind, width, stride) = (to.kind, cut.width, to.kind.stride(cut.width));
        let (parts, [block, sum]) = (if wide { 2 } else { 1 }, [kind.block_len(), kind.sum_len()]);
        let padded = TokenCut { width: stride, ..cut };
        let cut = |per| Cut { rows: parts, block: parts, ..padded.per(per) };
        let mut codes = to.codes.write(claim, cut(1));
        let mut scales = to.scales.write(claim, cut(block));
        let mut sums = to.sums.write(claim, cut(sum));
        for (i, x) in x.chunks_exact_mut(width).enumerate() {
            let of = |per| i * stride / per..(i * stride + width) / per;
            let rows = (&mut codes.row(0)[of(1)], &mut scales.row(0)[of(block)], &mut sums.row(0)[of(sum)]);
            self.level.run(Quantize { kind, row: x, first: None, to: rows });
            if wide {
                let [first, scales] = scales.two_rows(0, 1);
                let first = &first[of(block)];
                leave_rest(x, &codes.row(0)[of(1)], first);
                let rows = (&mut codes.row(1)[of(1)], &mut scales[of(block)], &mut sums.row(1)[of(sum)]);
                self.level.run(Quantize { kind, row: x, first: Some(first), to: rows });
            }
        }
    }

    /// Rows of a matrix in one chunk of its product with `count` vectors.
    fn rows_per_chunk(&self, matrix: &Matrix, count: usize) -> usize {
        if count > 1 {
            let share = matrix.rows / (BATCH_CHUNKS * self.team.threads());
            return (share / BATCH_ROWS * BATCH_ROWS).clamp(BATCH_ROWS, MOST_BATCH_ROWS);
        }
        CHUNK_BYTES.div_ceil(matrix.row_bytes()).next_multiple_of(ROW_MULTIPLE)
    }

    /// Chunks of the product of a matrix with `count` vectors.
    fn chunks(&self, linear: &Linear, count: usize) -> usize {
        linear.matrix.rows.div_ceil(self.rows_per_chunk(&linear.matrix, count))
    }

    /// The rows from chunk `chunk` of some matrices on, as far as the matrix goes.
    fn rows_from<'a>(&self, linears: impl Iterator<Item = &'a Linear>, count: usize, mut chunk: usize) -> &'a [u8] {
        for linear in linears {
            let (chunks, matrix) = (self.chunks(linear, count), &linear.matrix);
            if chunk < chunks {
                return matrix.rows(chunk * self.rows_per_chunk(matrix, count)..matrix.rows);
            }
            chunk -= chunks;
        }
        &[]
    }

    /// The claimed rows of one product.
    fn product(&self, claim: &Claim, first: usize, linear: &Linear, count: usize, to: &Shared<f32>, after: &[u8]) {
        let Matrix { kind, rows, .. } = linear.matrix;
        let width = self.rows_per_chunk(&linear.matrix, count);
        let start = (claim.index() - first) * width;
        let part = start..(start + width).min(rows);
        let columns = self.operand(claim, linear, count);
        let mut out = to.write(claim, Cut::columns(count, rows, width).from_chunk(first));
        let rows = Rows { bytes: linear.matrix.rows(part.clone()), after };
        self.in_scratch(Product { kind, rows, columns: &columns, out: &mut out });
        if linear.scale.is_none() && linear.bias.is_none() {
            return;
        }
        let [scale, of_bias] = linear.scales();
        for row in 0..count {
            let row = out.row(row);
            row.iter_mut().for_each(|x| *x *= scale);
            let bias = linear.bias.as_deref().map_or(&[][..], |bias| &bias[part.clone()]);
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias * of_bias);
        }
    }

    fn in_scratch<W>(&self, work: W)
    where
        for<'s> InScratch<'s, W>: Kernel<Out = ()>,
    {
        let mut scratch = self.scratch[self.team.thread()].try_lock().expect("a thread runs one kernel at a time");
        self.level.run(InScratch { work, scratch: &mut scratch });
    }

    /// The operand as `count` columns, in the form that a matrix takes.
    fn operand<'c>(&'c self, claim: &'c Claim, linear: &Linear, count: usize) -> Columns<'c> {
        let (operand, kind, length) = (&self.state.operand, linear.activation(), linear.matrix.columns);
        let wide = linear.takes_wide();
        let len = kind.stride(length) * if wide { 2 * count } else { count };
        let quantized = |from: &'c Quantized| {
            let (codes, scales, sums) = kind.lens(len);
            (&from.codes.read(claim)[..codes], &from.scales.read(claim)[..scales], &from.sums.read(claim)[..sums])
        };
        let data = match kind {
            Activation::F32 => ColumnData::F32(&operand.f32.read(claim)[..len]),
            Activation::Short => ColumnData::Short(&operand.f32.read(claim)[..len]),
            Activation::Q8 => {
                let (qs, d, sums) = quantized(&operand.q8);
                ColumnData::Q8 { qs, d, sums }
            }
            Activation::Q8K => {
                let (qs, d, sums) = quantized(&operand.q8k);
                ColumnData::Q8K { qs, d, sums }
            }
        };
        Columns { k: length, n: count, wide, data }
    }

    fn attend_over<L: LayerKv>(&self, layer: usize, attention: &Attention, forms: Forms) {
        // Few tokens of one sequence share out their spans among threads; otherwise there is work enough without.
        if let Some(piece) = self.batch.single().filter(|piece| piece.tokens.len() <= SPLIT_TOKENS) {
            let first = attention::seen(attention, piece.position).start;
            let spans = attention::spans(first..piece.position + piece.tokens.len());
            if spans.len() > 1 {
                return self.attend_spans(L::of(piece.cache, layer), piece.position, attention, spans, forms);
            }
        }
        self.attend_blocks::<L>(layer, attention, forms);
    }

    /// A chunk of work for each block of tokens and KV head.
    fn attend_blocks<L: LayerKv>(&self, layer: usize, attention: &Attention, forms: Forms) {
        let Attention { heads, kv_heads, value_length, .. } = *attention;
        let (count, length) = (self.tokens(), heads * value_length);
        // Tokens of different sequences share nothing.
        let alone = |placed: Placed<'_>| placed.rows.len() <= SPLIT_TOKENS;
        let block = if self.batch.pieces().all(alone) { 1 } else { attention::tokens_per_block(attention) };
        let cut = Cut { block, ..Cut::columns(count, length, length / kv_heads) };
        self.team.each(count.div_ceil(block) * kv_heads, |claim| {
            let (first, kv_head) = (claim.index() / kv_heads * block, claim.index() % kv_heads);
            let end = (first + block).min(count);
            let mut out = self.state.heads.write(claim, cut);
            for placed in self.batch.pieces() {
                let (from, to) = (placed.rows.start.max(first), placed.rows.end.min(end));
                if from >= to {
                    continue;
                }
                let cache = L::of(placed.piece.cache, layer);
                self.in_scratch(Attend {
                    attention,
                    kv_head,
                    head: cache.head(claim, attention, kv_head, self.state.queries()),
                    tokens: from..to,
                    position: placed.position(from),
                    out: Out::Heads(out.rows_of(from - first..to - first)),
                });
            }
        });
        self.team.each(self.token_chunks(), |claim| {
            let rows = self.tokens_of(claim, &self.state.heads, length);
            self.set_operand(claim, self.token_cut(length), forms, Copy { rows });
        });
    }

    /// A chunk of work for each span and KV head of a single piece from `position` on; the spans are put together when the
    /// operand is made.
    fn attend_spans<L: LayerKv>(
        &self,
        cache: &L,
        position: usize,
        attention: &Attention,
        spans: Range<usize>,
        forms: Forms,
    ) {
        let Attention { heads, kv_heads, value_length, .. } = *attention;
        let (tokens, length) = (self.tokens(), heads * value_length);
        let part = PartialSums::len(tokens * heads / kv_heads, value_length);
        let cut = Cut::pieces(kv_heads * spans.len() * part, part);
        self.team.each(kv_heads * spans.len(), |claim| {
            let (kv_head, span) = (claim.index() % kv_heads, spans.start + claim.index() / kv_heads);
            let mut numbers = self.state.partial.write(claim, cut);
            self.in_scratch(Attend {
                attention,
                kv_head,
                head: cache.head(claim, attention, kv_head, self.state.queries()),
                tokens: 0..tokens,
                position,
                out: Out::Span(span, PartialSums { numbers: numbers.row(0), value_length }),
            });
        });
        self.team.each(tokens, |claim| {
            let (token, partial) = (claim.index(), self.state.partial.read(claim));
            let merge = Merge { attention, token, position: position + token, tokens, spans: spans.clone(), partial };
            self.set_operand(claim, TokenCut { rows: tokens, each: 1, width: length }, forms, merge);
        });
    }
}

/// What becomes of queries, keys and values between their products and attention.
struct Turning<'a> {
    cpu: &'a Cpu<'a>,
    attention: &'a Attention,
    norms: Option<[&'a [f32]; 2]>,
    epsilon: f32,
}

impl Turning<'_> {
    /// Chunks of work are each token's queries, and then the chunks of the caches that the batch writes.
    fn rotate_and_cache<L: LayerKv>(&self, layer: usize) {
        let count = self.cpu.token_chunks();
        let written = |first: usize, placed: &Placed<'_>| {
            let cache = L::of(placed.piece.cache, layer);
            let Range { start, end } = placed.positions();
            Chunks::new(self.attention, cache.capacity(self.attention), start / CHUNK..end.div_ceil(CHUNK), first)
        };
        let total = self.cpu.batch.pieces().fold(count, |first, placed| first + written(first, &placed).len());
        self.cpu.team.each(total, |claim| {
            if claim.index() < count {
                return self.turn_queries::<L>(claim);
            }
            let mut first = count;
            for placed in self.cpu.batch.pieces() {
                let chunks = written(first, &placed);
                first += chunks.len();
                if claim.index() < first {
                    return self.fill_chunk(claim, L::of(placed.piece.cache, layer), &placed, &chunks);
                }
            }
        });
    }

    /// The claimed chunk of a piece's cache.
    fn fill_chunk<L: LayerKv>(&self, claim: &Claim, cache: &L, placed: &Placed<'_>, chunks: &Chunks<'_>) {
        let (kv_head, Some(chunk)) = chunks.claimed(claim) else { return };
        let (keys, values) = (self.activations(claim, Activations::Key), self.activations(claim, Activations::Value));
        let to = cache.chunk(claim, chunks);
        self.cpu.level.run(FillChunk { turning: self, claim, placed, kv_head, chunk, keys, values, to });
    }

    fn activations<'c>(&'c self, claim: &'c Claim, which: Activations) -> &'c [f32] {
        self.cpu.state.activations(which).read(claim)
    }

    /// The claimed tokens' queries.
    fn turn_queries<L: LayerKv>(&self, claim: &Claim) {
        let Attention { heads, key_length, .. } = *self.attention;
        let width = heads * key_length;
        let cut = self.cpu.token_cut(width);
        let mut queries = self.cpu.state.activations(Activations::Query).write(claim, cut.per(1));
        let first = claim.index() * cut.each;
        for (token, heads) in queries.row(0).chunks_exact_mut(width).enumerate() {
            self.cpu.level.run(Turn {
                heads,
                length: key_length,
                norm: self.norms.map(|[query, _]| query),
                epsilon: self.epsilon,
                angles: self.angles(claim, first + token),
            });
        }
        L::keep_queries(self.cpu.state.queries(), self.cpu.level, claim, cut, self.attention, queries.row(0));
    }

    /// A token's angles of the layer's rotary embedding, and its layout.
    #[inline(always)]
    fn angles<'c>(&'c self, claim: &'c Claim, token: usize) -> Option<(&'c [f32], RopeLayout)> {
        let index = self.attention.rope?;
        let ropes = self.cpu.ropes;
        let width: usize = ropes.iter().map(Rope::dimensions).sum();
        let start: usize = ropes[..index].iter().map(Rope::dimensions).sum();
        let row = &self.cpu.state.angles.read(claim)[token * width + start..];
        Some((&row[..ropes[index].dimensions()], ropes[index].layout))
    }
}

/// Norms and rotates the keys of one KV head that fall into a chunk of the cache, and writes them and their values.
struct FillChunk<'a, C> {
    turning: &'a Turning<'a>,
    claim: &'a Claim,
    placed: &'a Placed<'a>,
    kv_head: usize,
    chunk: usize,
    keys: &'a [f32],
    values: &'a [f32],
    to: C,
}

impl<C: ChunkMut> Kernel for FillChunk<'_, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Turning { attention, norms, epsilon, .. } = *self.turning;
        let Attention { kv_heads, key_length, value_length, .. } = *attention;
        let positions = self.placed.positions();
        let start = positions.start.max(self.chunk * CHUNK);
        let end = positions.end.min((self.chunk + 1) * CHUNK);
        let mut turned = [0.0; MAX_LENGTH];
        let key = &mut turned[..key_length];
        self.to.expect_key(s, start % CHUNK);
        for position in start..end {
            let token = self.placed.rows.start + (position - positions.start);
            let head = token * kv_heads + self.kv_head;
            key.copy_from_slice(&self.keys[head * key_length..][..key_length]);
            let angles = self.turning.angles(self.claim, token);
            Turn { heads: key, length: key_length, norm: norms.map(|[_, key]| key), epsilon, angles }.run(s);
            self.to.set_key(s, position % CHUNK, key);
            self.to.set_value(s, position % CHUNK, &self.values[head * value_length..][..value_length]);
        }
    }
}

/// Rows of a buffer, of which each chunk of an operation has some.
#[derive(Clone, Copy)]
pub(super) struct TokenCut {
    /// How many there are.
    pub rows: usize,
    /// How many a chunk has.
    pub each: usize,
    /// Elements of each.
    pub width: usize,
}

impl TokenCut {
    /// The cut of a buffer that has a number for every `per` elements.
    pub fn per(self, per: usize) -> Cut {
        let width = self.width / per;
        Cut::pieces(self.rows * width, self.each * width)
    }

    /// The elements of the claimed rows.
    fn range(self, claim: &Claim) -> Range<usize> {
        let first = claim.index() * self.each;
        first * self.width..(first + self.each).min(self.rows) * self.width
    }
}

/// What fills rows of the operand.
trait Fill {
    /// Fills the row that is the `i`th of the claimed ones.
    fn fill(&self, i: usize, row: &mut [f32]);
}

/// Row `i` of rows that are as long as `row`.
#[inline(always)]
fn like<'a>(rows: &'a [f32], i: usize, row: &[f32]) -> &'a [f32] {
    &rows[i * row.len()..][..row.len()]
}

struct Norm<'a> {
    residual: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
}

impl Fill for Norm<'_> {
    #[inline(always)]
    fn fill(&self, i: usize, row: &mut [f32]) {
        elementwise::rms_norm(like(self.residual, i, row), self.weight, self.epsilon, row);
    }
}

struct Copy<'a> {
    rows: &'a [f32],
}

impl Fill for Copy<'_> {
    #[inline(always)]
    fn fill(&self, i: usize, row: &mut [f32]) {
        row.copy_from_slice(like(self.rows, i, row));
    }
}

impl Fill for Merge<'_> {
    #[inline(always)]
    fn fill(&self, _: usize, row: &mut [f32]) {
        self.heads(0, row);
    }
}

struct Gated<'a> {
    activation: Gate,
    gate: &'a [f32],
    up: &'a [f32],
}

impl Fill for Gated<'_> {
    #[inline(always)]
    fn fill(&self, i: usize, row: &mut [f32]) {
        elementwise::gate(self.activation, like(self.gate, i, row), like(self.up, i, row), row);
    }
}

struct FillRows<'a, F> {
    fill: F,
    rows: &'a mut [f32],
    width: usize,
}

impl<F: Fill> Kernel for FillRows<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (i, row) in self.rows.chunks_exact_mut(self.width).enumerate() {
            self.fill.fill(i, row);
        }
    }
}

struct Quantize<'a> {
    kind: Activation,
    row: &'a [f32],
    /// The scales of the first codes, where these are what they leave.
    first: Option<&'a [f32]>,
    /// Codes, scales and sums.
    to: (&'a mut [i8], &'a mut [f32], &'a mut [i16]),
}

impl Kernel for Quantize<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { kind, row, first, to: (codes, scales, sums) } = self;
        simd.prefetch_to_write(codes);
        simd.prefetch_to_write(scales);
        simd.prefetch_to_write(sums);
        match first {
            None => quantize(simd, kind, row, codes, scales, sums),
            Some(first) => quantize_rest(simd, kind, row, first, codes, scales, sums),
        }
    }
}

pub(super) struct Shorten<'a> {
    pub row: &'a mut [f32],
}

impl Kernel for Shorten<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        shorten(simd, self.row);
    }
}

/// Takes from `row` what its codes stand for.
fn leave_rest(row: &mut [f32], codes: &[i8], scales: &[f32]) {
    let block = row.len() / scales.len();
    for ((row, codes), scale) in row.chunks_mut(block).zip(codes.chunks(block)).zip(scales) {
        row.iter_mut().zip(codes).for_each(|(x, code)| *x -= scale * f32::from(*code));
    }
}

struct Add<'a> {
    addition: Addition<'a>,
    epsilon: f32,
    output: &'a [f32],
    residual: &'a mut [f32],
    width: usize,
}

impl Kernel for Add<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let scale = self.addition.scale;
        let Some(weight) = self.addition.post_norm else {
            return self.residual.iter_mut().zip(self.output).for_each(|(x, y)| *x += scale * y);
        };
        let rows = self.residual.chunks_exact_mut(self.width).zip(self.output.chunks_exact(self.width));
        rows.for_each(|(x, y)| elementwise::add_normed(x, y, weight, self.epsilon, scale));
    }
}

struct Product<'a, 'o> {
    kind: crate::quant::TensorType,
    rows: Rows<'a>,
    columns: &'a Columns<'a>,
    out: &'a mut crate::bytes::Tile<'o, f32>,
}

impl Kernel for InScratch<'_, Product<'_, '_>> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Product { kind, rows, columns, out } = self.work;
        matmul(simd, kind, rows, columns, out, self.scratch);
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

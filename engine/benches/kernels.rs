//! How fast single kernels are, on one thread: `cargo bench -p woolly-engine [-- FILTER]`.
//!
//! Products with one column are shown in bytes of the matrix per second, with more in multiply-adds per second, to be held
//! against the peaks of `woolly bench --peaks`. The matrix has 8 to 64 MB, by its type: where that fits the last cache,
//! one column can be faster than memory. `WOOLLY_ISA` names an instruction set; else it is the best there is.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use woolly_engine::bytes::Tile;
use woolly_engine::kernels::matmul::{Rows, matmul};
use woolly_engine::kernels::{Scratch, elementwise};
use woolly_engine::quant::{Activation, ColumnData, Columns, TensorType, dequantize_row, quantize};
use woolly_engine::simd::{Kernel, Level, Simd};

/// The matrix: rows, and elements of a row.
const SHAPE: (usize, usize) = (4096, 4096);
/// Columns to multiply it with.
const COLUMNS: [usize; 4] = [1, 4, 16, 128];
/// Length of the vectors that are normed and quantized.
const LENGTH: usize = 4096;

criterion_main!(kernels);
criterion_group! {
    name = kernels;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = products, quantization, norms
}

fn products(criterion: &mut Criterion) {
    let ((rows, k), mut scratch) = (SHAPE, Scratch::default());
    for &kind in TensorType::ALL {
        let mut group = criterion.benchmark_group(format!("matmul {}", kind.name()));
        let matrix = random_blocks(kind, rows * k / kind.block_len());
        for n in COLUMNS {
            group.throughput(match n {
                1 => Throughput::Bytes(matrix.len() as u64),
                _ => Throughput::Elements((rows * k * n) as u64),
            });
            let mut columns = Quantized::new(kind.activation(), random_floats(n * k), k);
            columns.quantize(k);
            let mut out = vec![0.0; n * rows];
            group.bench_function(BenchmarkId::from_parameter(n), |bencher| {
                bencher.iter(|| {
                    let out = Tile::new(&mut out, rows, 0..rows);
                    let (columns, scratch) = (columns.view(k), &mut scratch);
                    LEVEL.run(Product { kind, rows: &matrix, columns, out, scratch });
                });
            });
        }
    }
}

fn quantization(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quantize");
    group.throughput(Throughput::Elements(LENGTH as u64));
    for kind in [Activation::Q8, Activation::Q8K] {
        let mut columns = Quantized::new(kind, random_floats(LENGTH), LENGTH);
        group.bench_function(format!("{kind:?}"), |bencher| bencher.iter(|| columns.quantize(LENGTH)));
    }
}

fn norms(criterion: &mut Criterion) {
    let (x, weight, mut out) = (random_floats(LENGTH), random_floats(LENGTH), vec![0.0; LENGTH]);
    let mut group = criterion.benchmark_group("norm");
    group.throughput(Throughput::Elements(LENGTH as u64));
    group.bench_function("rms_norm", |bencher| {
        bencher.iter(|| LEVEL.run(Norm { x: black_box(&x), weight: &weight, out: &mut out }));
    });
}

static LEVEL: LazyLock<Level> = LazyLock::new(|| {
    let named = std::env::var("WOOLLY_ISA").ok();
    named.map_or_else(Level::best, |name| name.parse().expect("WOOLLY_ISA names an instruction set"))
});

struct Product<'a> {
    kind: TensorType,
    rows: &'a [u8],
    columns: Columns<'a>,
    out: Tile<'a, f32>,
    scratch: &'a mut Scratch,
}

impl Kernel for Product<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let rows = Rows { bytes: self.rows, after: &[] };
        matmul(s, self.kind, rows, &self.columns, &mut self.out, self.scratch);
    }
}

struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Norm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        elementwise::rms_norm(self.x, self.weight, 1e-5, self.out);
    }
}

/// Activations in the form that a product takes.
struct Quantized {
    kind: Activation,
    floats: Vec<f32>,
    qs: Vec<i8>,
    d: Vec<f32>,
    sums: Vec<i16>,
}

impl Quantized {
    /// Room for columns of `k` floats.
    fn new(kind: Activation, floats: Vec<f32>, k: usize) -> Self {
        let (codes, scales, sums) = kind.lens(floats.len() / k * kind.stride(k));
        Self { kind, floats, qs: vec![0; codes], d: vec![0.0; scales], sums: vec![0; sums] }
    }

    /// Quantizes columns of `k` floats.
    fn quantize(&mut self, k: usize) {
        let (codes, scales, sums) = self.kind.lens(k);
        let (qs_stride, d_stride, sums_stride) = self.kind.lens(self.kind.stride(k));
        for (c, x) in self.floats.chunks(k).enumerate() {
            let qs = &mut self.qs[c * qs_stride..][..codes];
            let d = &mut self.d[c * d_stride..][..scales];
            let sums = &mut self.sums[c * sums_stride..][..sums];
            LEVEL.run(Quantize { kind: self.kind, x, qs, d, sums });
        }
    }

    fn view(&self, k: usize) -> Columns<'_> {
        let Self { kind, floats, qs, d, sums } = self;
        let data = match kind {
            Activation::F32 => ColumnData::F32(floats),
            Activation::Short => ColumnData::Short(floats),
            Activation::Q8 => ColumnData::Q8 { qs, d, sums },
            Activation::Q8K => ColumnData::Q8K { qs, d, sums },
        };
        Columns { k, n: floats.len() / k, wide: false, data }
    }
}

struct Quantize<'a> {
    kind: Activation,
    x: &'a [f32],
    qs: &'a mut [i8],
    d: &'a mut [f32],
    sums: &'a mut [i16],
}

impl Kernel for Quantize<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        quantize(s, self.kind, self.x, self.qs, self.d, self.sums);
    }
}

/// Blocks of a type, made of a few random ones in turn.
fn random_blocks(kind: TensorType, count: usize) -> Vec<u8> {
    let mut random = random();
    let mut block = || loop {
        let bytes: Vec<u8> = (0..kind.block_bytes()).map(|_| random() as u8).collect();
        let mut floats = vec![0.0; kind.block_len()];
        dequantize_row(kind, &bytes, &mut floats);
        // Random scales may be infinite or subnormal, which no real model's are.
        if floats.iter().all(|x| *x == 0.0 || (1e-9..1e9).contains(&x.abs())) {
            return bytes;
        }
    };
    let blocks: Vec<Vec<u8>> = (0..67).map(|_| block()).collect();
    blocks.iter().cycle().take(count).flatten().copied().collect()
}

/// Floats between -1 and 1.
fn random_floats(count: usize) -> Vec<f32> {
    let mut random = random();
    (0..count).map(|_| random() as f32 / (1u32 << 30) as f32 - 1.0).collect()
}

/// A deterministic stream of numbers of 31 bits (the MMIX linear congruential generator).
fn random() -> impl FnMut() -> u32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    }
}

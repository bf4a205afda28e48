//! The definitions as plain loops in f64.

use crate::nn::ops::{Conv2dGeometry, Pool2dGeometry};

/// Sizes of a convolution's input (batch, channels, height, width) and weight.
pub struct Sizes {
    pub x: [usize; 4],
    pub weight: [usize; 4],
}

/// Calls `visit(x index, weight index, output index)` for every product of a convolution; gives the output's shape.
pub fn convolution_terms(
    sizes: &Sizes,
    geometry: &Conv2dGeometry,
    mut visit: impl FnMut(usize, usize, usize),
) -> [usize; 4] {
    let [batch, channels, height, width] = sizes.x;
    let [outs, per_group, kernel_height, kernel_width] = sizes.weight;
    let [out_height, out_width] =
        geometry.output_size([height, width], [kernel_height, kernel_width]).expect("the kernel fits");
    for n in 0..batch {
        for o in 0..outs {
            for y in 0..out_height {
                for x in 0..out_width {
                    for i in 0..per_group {
                        for ky in 0..kernel_height {
                            for kx in 0..kernel_width {
                                let row = y * geometry.stride[0] + ky * geometry.dilation[0];
                                let column = x * geometry.stride[1] + kx * geometry.dilation[1];
                                let (Some(row), Some(column)) = (
                                    row.checked_sub(geometry.padding[0]),
                                    column.checked_sub(geometry.padding[1]),
                                ) else {
                                    continue;
                                };
                                if row >= height || column >= width {
                                    continue;
                                }
                                let channel = o / (outs / geometry.groups) * per_group + i;
                                visit(
                                    ((n * channels + channel) * height + row) * width + column,
                                    ((o * per_group + i) * kernel_height + ky) * kernel_width + kx,
                                    ((n * outs + o) * out_height + y) * out_width + x,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    [batch, outs, out_height, out_width]
}

/// The windows of a pooling: for each output the input positions inside, plane by plane.
pub fn windows(shape: [usize; 4], geometry: &Pool2dGeometry) -> ([usize; 4], Vec<Vec<usize>>) {
    let [batch, channels, height, width] = shape;
    let [out_height, out_width] = geometry.output_size([height, width]).expect("the window fits");
    let mut all = Vec::new();
    for plane in 0..batch * channels {
        for y in 0..out_height {
            for x in 0..out_width {
                let mut window = Vec::new();
                for ky in 0..geometry.kernel[0] {
                    for kx in 0..geometry.kernel[1] {
                        let row = (y * geometry.stride[0] + ky).wrapping_sub(geometry.padding[0]);
                        let column = (x * geometry.stride[1] + kx).wrapping_sub(geometry.padding[1]);
                        if row < height && column < width {
                            window.push((plane * height + row) * width + column);
                        }
                    }
                }
                all.push(window);
            }
        }
    }
    ([batch, channels, out_height, out_width], all)
}

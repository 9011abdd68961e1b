"""The compiled half of the renderer: colour of every sample, from fragments, materials, light and shadow maps.

Colours are linear RGB. A picture is rasterised at twice its size; every pixel shades one sample for each different
surface among its four (as multisampling hardware does), so edges are smooth at little more than the price of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.compiled import compiled
from interactvlm.synthesis.garments import slot_at
from interactvlm.synthesis.noise import noise_at

__all__ = ["shade_pixels"]

F32 = NDArray[np.float32]


@compiled
def _shadow(depths: F32, camera: F32, x: float, y: float, z: float, spread: float) -> float:
    """Share of the key light that reaches a point: nine lookups in the shadow map.

    `camera` is [16]: rotation (9, row-major, for row vectors), translation (3), focal, principal, bias, 0.
    """
    u = x * camera[0] + y * camera[3] + z * camera[6] + camera[9]
    v = x * camera[1] + y * camera[4] + z * camera[7] + camera[10]
    w = x * camera[2] + y * camera[5] + z * camera[8] + camera[11]
    scale = camera[12] / w
    column, row = camera[13] - scale * u, camera[13] - scale * v
    step = max(spread * scale, 0.7)
    lit = 0.0
    size = depths.shape[0]
    for i in range(-1, 2):
        for j in range(-1, 2):
            r, c = int(row + i * step), int(column + j * step)
            if r < 0 or c < 0 or r >= size or c >= size:
                lit += 1.0
            else:
                depth = depths[r, c]
                if depth < 0 or depth > w - camera[14] - 0.3 * spread:
                    lit += 1.0
    return lit / 9.0


@compiled
def _openness(heights: F32, frame: F32, x: float, y: float, z: float, nx: float, ny: float, nz: float) -> float:
    """Share of the sky that a point sees, from a height map: eight lookups around it, near and far.

    `frame` is [4]: x and z of the map's first corner, samples a metre, 0. Heights are -1 where there is nothing.
    """
    covered = 0.0
    size = heights.shape[0]
    for ring in range(2):
        reach = 0.09 if ring == 0 else 0.28
        for k in range(4):
            dx = reach if k == 0 else (-reach if k == 1 else 0.0)
            dz = reach if k == 2 else (-reach if k == 3 else 0.0)
            c = int((x + nx * 0.06 + dx - frame[0]) * frame[2])
            r = int((z + nz * 0.06 + dz - frame[1]) * frame[2])
            if 0 <= r < size and 0 <= c < size:
                rise = heights[r, c] - y - 0.04 - reach * 0.4
                if rise > 0:
                    covered += min(rise / 0.12, 1.0) / (1.0 + 0.35 * max(rise - 0.5, 0.0))
    return 1.0 - covered / 8.0


@compiled
def _pattern(row: F32, x: float, y: float, z: float, volume: F32) -> float:
    """Share of the second colour in a material's pattern at texture coordinates in metres."""
    kind, f = int(row[6]), row[7]
    if kind == 1:
        t = (x * row[8] + y * row[9] + z * row[10]) * f
        return 1.0 if t - np.floor(t) < 0.5 else 0.0
    if kind == 2:
        a, b = (x + z) * f, y * f
        return 0.5 * (1.0 if a - np.floor(a) < 0.4 else 0.0) + 0.5 * (1.0 if b - np.floor(b) < 0.4 else 0.0)
    if kind == 3:
        a, b = (x + z) * f, y * f
        a, b = a - np.floor(a) - 0.5, b - np.floor(b) - 0.5
        return 1.0 if a * a + b * b < 0.07 else 0.0
    if kind == 4:
        return 1.0 if noise_at(volume, x * f * 2, y * f * 2, z * f * 2) > 0.35 else 0.0
    return 0.0


@compiled
def _texel(squares: F32, layer: int, u: float, v: float, footprint: float, out: F32) -> None:
    """Bilinear lookup in a tiling square, blurred towards its mean where a pixel covers many texels."""
    side = squares.shape[1]
    x, y = (u - np.floor(u)) * side, (v - np.floor(v)) * side
    i, j = int(y) % side, int(x) % side
    fy, fx = y - int(y), x - int(x)
    p, q = (i + 1) % side, (j + 1) % side
    for k in range(3):
        top = squares[layer, i, j, k] * (1 - fx) + squares[layer, i, q, k] * fx
        low = squares[layer, p, j, k] * (1 - fx) + squares[layer, p, q, k] * fx
        out[k] = top * (1 - fy) + low * fy
    if footprint > 1.0:
        share = 1.0 - 1.0 / footprint
        for k in range(3):
            mean = 0.0
            step = int(min(footprint, side / 8))
            for a in range(-1, 2):
                for b in range(-1, 2):
                    mean += squares[layer, (i + a * step // 2) % side, (j + b * step // 2) % side, k]
            out[k] = out[k] * (1 - share) + mean / 9.0 * share


@compiled
def _background(
    origin: F32, dx: float, dy: float, dz: float, focal: float,
    squares: F32, scales: F32, walls: F32, ceiling: float, backdrop: F32, turn: float, haze: F32, volume: F32,
    shadow_map: F32, shadow_camera: F32, heights: F32, frame: F32, light: F32, out: F32,
) -> float:  # fmt: skip
    """Colour along a ray that meets no mesh; returns its depth along the ray."""
    nearest, hit = 1e4, -1
    if dy < -1e-5:
        nearest, hit = -origin[1] / dy, 0
    for k in range(3):
        if walls[k, 3] > 0:
            rate = walls[k, 0] * dx + walls[k, 1] * dz
            if rate > 1e-5:
                t = (walls[k, 2] - walls[k, 0] * origin[0] - walls[k, 1] * origin[2]) / rate
                if 0 < t < nearest:
                    nearest, hit = t, k + 1
    if dy > 1e-5 and (ceiling - origin[1]) / dy < nearest:
        nearest, hit = (ceiling - origin[1]) / dy, 4
    if hit < 0 or nearest > 400.0:
        side = backdrop.shape[0]
        up = np.degrees(np.arctan2(dy, np.sqrt(dx * dx + dz * dz)))
        around = (np.arctan2(dx, dz) + turn) / np.pi
        v, u = (45.0 - up) / 57.0 * (side - 1), (around - np.floor(around)) * side
        v = min(max(v, 0.0), side - 1.001)
        i, j = int(v), int(u) % side
        fy, fx = v - i, u - int(u)
        q = (j + 1) % side
        for k in range(3):
            top = backdrop[i, j, k] * (1 - fx) + backdrop[i, q, k] * fx
            low = backdrop[i + 1, j, k] * (1 - fx) + backdrop[i + 1, q, k] * fx
            out[k] = (top * (1 - fy) + low * fy) * light[16]
        return 1e4
    x, y, z = origin[0] + nearest * dx, origin[1] + nearest * dy, origin[2] + nearest * dz
    if hit == 4:
        for k in range(3):
            out[k] = 0.75 * (0.7 * light[21 + k] + 0.3 * light[18 + k])
        return nearest
    layer = min(hit, 2)
    scale = scales[layer]
    if hit == 0:
        slope = max(-dy, 0.02)
        _texel(squares, 0, x / scale, z / scale, nearest / (focal * slope) * squares.shape[1] / scale, out)
        coarse = 1.0 + 0.12 * noise_at(volume, x * 0.9, 0.0, z * 0.9)
        nx, ny, nz = 0.0, 1.0, 0.0
    else:
        along = walls[hit - 1, 1] * x - walls[hit - 1, 0] * z
        _texel(squares, layer, along / scale, -y / scale, nearest / focal * squares.shape[1] / scale, out)
        coarse = 1.0
        nx, ny, nz = -walls[hit - 1, 0], 0.0, -walls[hit - 1, 1]
    facing = max(nx * light[0] + ny * light[1] + nz * light[2], 0.0)
    filling = max(nx * light[6] + ny * light[7] + nz * light[8], 0.0)
    if facing > 0:
        facing *= _shadow(shadow_map, shadow_camera, x, y, z, light[15])
    open_sky = _openness(heights, frame, x, y, z, nx, ny, nz) if hit == 0 else min(0.65 + 0.5 * y, 1.0)
    fog = 1.0 - np.exp(-haze[3] * nearest)
    for k in range(3):
        glow = light[18 + k] * (0.5 + 0.5 * ny) + light[21 + k] * (0.5 - 0.5 * ny)
        colour = out[k] * coarse * (facing * light[3 + k] + filling * light[9 + k] + glow * open_sky)
        out[k] = colour * (1 - fog) + haze[k] * light[16] * fog
    return nearest


@compiled
def shade_pixels(
    row_start: int, row_stop: int,
    face_ids: NDArray[np.int32], barycentric: F32, depth: F32,
    faces: NDArray[np.int32], positions: F32, normals: F32, coordinates: F32, tints: F32, parts: NDArray[np.uint8],
    instances: NDArray[np.int16], rows: NDArray[np.int32], outfits: NDArray[np.int32], cuts: F32, materials: F32,
    origin: F32, rotation: F32, focal: float,
    squares: F32, scales: F32, walls: F32, ceiling: float, backdrop: F32, turn: float, haze: F32, volume: F32,
    shadow_map: F32, shadow_camera: F32, heights: F32, frame: F32, light: F32,
    image: F32, distance: F32, labels: NDArray[np.int16],
) -> None:  # fmt: skip
    """Fill rows of `image` [H, W, 3], `distance` [H, W] and `labels` [H, W] from fragments at twice their size.

    `instances` [F] gives the thing a face belongs to, `rows` [I] its first material, `outfits` [I] its row in `cuts`
    or -1. `light` is [24]: key direction, key colour, fill direction, fill colour, eye's reserve (3), softness, sky
    brightness, 0, light from above, light from below.
    """
    height, width = labels.shape
    colours = np.zeros((4, 3), np.float32)
    kinds = np.empty(4, np.int64)
    depths = np.empty(4, np.float32)
    ray = np.empty(3)
    for row in range(row_start, row_stop):
        for column in range(width):
            count = 0
            red, green, blue, far = 0.0, 0.0, 0.0, 0.0
            best, votes = -1, 0
            for sample in range(4):
                r, c = 2 * row + sample // 2, 2 * column + sample % 2
                u, v = (width - c - 0.5) / focal, (height - r - 0.5) / focal
                for k in range(3):
                    ray[k] = rotation[k, 0] * u + rotation[k, 1] * v + rotation[k, 2]
                face = face_ids[r, c]
                near = depth[r, c]
                if face >= 0 and origin[1] + near * ray[1] < 0.0:
                    face = -1  # under the floor
                kind = instances[face] if face >= 0 else -1
                found = -1
                for k in range(count):
                    if kinds[k] == kind and (kind < 0 or abs(depths[k] - near) < 0.012 * near):
                        found = k
                if found < 0:
                    found = count
                    count += 1
                    kinds[found], depths[found] = kind, near
                    if kind < 0:
                        depths[found] = _background(
                            origin, ray[0], ray[1], ray[2], focal / 2, squares, scales, walls, ceiling, backdrop, turn,
                            haze, volume, shadow_map, shadow_camera, heights, frame, light, colours[found],
                        )  # fmt: skip
                    else:
                        _surface(
                            face, barycentric[r, c], ray, faces, positions, normals, coordinates, tints, parts,
                            rows[kind], outfits[kind], cuts, materials, volume,
                            shadow_map, shadow_camera, heights, frame, light, haze, near, colours[found],
                        )  # fmt: skip
                red += colours[found, 0]
                green += colours[found, 1]
                blue += colours[found, 2]
                if sample == 0:
                    far = depths[found]
                if kind == best:
                    votes += 1
                elif votes <= 0 or sample == 0:
                    best, votes = kind, 1
                else:
                    votes -= 1
            image[row, column, 0] = red * 0.25
            image[row, column, 1] = green * 0.25
            image[row, column, 2] = blue * 0.25
            distance[row, column] = far
            labels[row, column] = best


@compiled
def _surface(
    face: int, weights: F32, ray: NDArray[np.float64], faces: NDArray[np.int32],
    positions: F32, normals: F32, coordinates: F32, tints: F32, parts: NDArray[np.uint8],
    first_row: int, outfit: int, cuts: F32, materials: F32, volume: F32,
    shadow_map: F32, shadow_camera: F32, heights: F32, frame: F32, light: F32, haze: F32, near: float, out: F32,
) -> None:  # fmt: skip
    """Colour of one sample of a mesh."""
    a, b, c = faces[face]
    wa, wb, wc = weights[0], weights[1], weights[2]
    x = wa * positions[a, 0] + wb * positions[b, 0] + wc * positions[c, 0]
    y = wa * positions[a, 1] + wb * positions[b, 1] + wc * positions[c, 1]
    z = wa * positions[a, 2] + wb * positions[b, 2] + wc * positions[c, 2]
    nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
    ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
    nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
    tx = wa * coordinates[a, 0] + wb * coordinates[b, 0] + wc * coordinates[c, 0]
    ty = wa * coordinates[a, 1] + wb * coordinates[b, 1] + wc * coordinates[c, 1]
    tz = wa * coordinates[a, 2] + wb * coordinates[b, 2] + wc * coordinates[c, 2]
    slot = 0
    if outfit >= 0:
        heaviest = a if wa >= wb and wa >= wc else (b if wb >= wc else c)
        slot = slot_at(tx, ty, tz, parts[heaviest], cuts[outfit])
    row = materials[first_row + slot]
    bump = row[15]
    if bump > 0:
        g = 35.0 if row[12] < 120 else 60.0
        nx += bump * 0.5 * noise_at(volume, tx * g, ty * g, tz * g)
        ny += bump * 0.5 * noise_at(volume, tx * g + 17.3, ty * g + 5.1, tz * g)
        nz += bump * 0.5 * noise_at(volume, tx * g, ty * g + 41.7, tz * g + 9.9)
    # Both sides of thin things are lit: normals are turned towards the eye.
    toward = -(nx * ray[0] + ny * ray[1] + nz * ray[2])
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    sign = (1.0 if toward >= 0 else -1.0) / length
    nx, ny, nz, toward = nx * sign, ny * sign, nz * sign, abs(toward) / length
    facing = nx * light[0] + ny * light[1] + nz * light[2]
    filling = nx * light[6] + ny * light[7] + nz * light[8]
    specular = 0.0
    eye = np.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2])
    if facing > 0:
        hx, hy, hz = light[0] - ray[0] / eye, light[1] - ray[1] / eye, light[2] - ray[2] / eye
        half = max(nx * hx + ny * hy + nz * hz, 0.0) / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
        lit = _shadow(shadow_map, shadow_camera, x + nx * 0.012, y + ny * 0.012, z + nz * 0.012, light[15])
        specular = row[13] * half ** row[14] * lit
        facing *= lit
    facing, filling = max(facing, 0.0), max(filling, 0.0)
    open_sky = _openness(heights, frame, x, y, z, nx, ny, nz)
    # Points close to the floor see less of everything.
    grounded = min(0.55 + y * 1.8, 1.0)
    rim = row[13] * 0.25 * (1.0 - min(toward / eye, 1.0)) ** 4
    share = _pattern(row, tx, ty, tz, volume)
    q = row[12]
    grain = 1.0 + row[11] * (
        0.6 * noise_at(volume, tx * q, ty * q, tz * q) + 0.5 * noise_at(volume, tx * 9.0, ty * 9.0, tz * 9.0 + 3.0)
    )
    grain = max(grain, 0.1)
    fog = 1.0 - np.exp(-haze[3] * near)
    for k in range(3):
        tint = wa * tints[a, k] + wb * tints[b, k] + wc * tints[c, k]
        base = (row[k] * (1 - share) + row[3 + k] * share) * (1 - row[16]) + tint * row[16]
        glow = (light[18 + k] * (0.5 + 0.5 * ny) + light[21 + k] * (0.5 - 0.5 * ny) * grounded) * (
            0.35 + 0.65 * open_sky
        )
        colour = base * grain * (facing * light[3 + k] + filling * light[9 + k] * (0.5 + 0.5 * open_sky) + glow)
        colour += specular * light[3 + k] + rim * light[18 + k]
        out[k] = colour * (1 - fog) + haze[k] * light[16] * fog

"""The rasteriser of PyTorch3D, where a user has built it: the released renders were made with it."""

from __future__ import annotations

import numpy as np
import torch
from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings
from pytorch3d.structures import Meshes

from interactvlm.geometry.cameras import Cameras
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import Fragments

__all__ = ["rasterize_pytorch3d"]


def rasterize_pytorch3d(mesh: Mesh, cameras: Cameras, image_size: tuple[int, int]) -> Fragments:
    """See `interactvlm.geometry.rasterizer.rasterize`; runs on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = len(cameras)
    focal, principal = cameras.intrinsics(image_size)
    # Every camera of ours is a pixel camera once the image size is known.
    projector = PerspectiveCameras(
        R=torch.tensor(cameras.R),
        T=torch.tensor(cameras.T),
        focal_length=torch.tensor(focal, dtype=torch.float32),
        principal_point=torch.tensor(principal, dtype=torch.float32),
        in_ndc=False,
        image_size=[image_size] * count,
        device=device,
    )
    meshes = Meshes([torch.tensor(mesh.vertices)], [torch.tensor(mesh.faces, dtype=torch.int64)]).to(device)
    settings = RasterizationSettings(
        image_size=image_size,
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=True,
        z_clip_value=cameras.znear / 2,
    )
    with torch.no_grad():
        found = MeshRasterizer(projector, settings)(meshes.extend(count))
    packed = found.pix_to_face[..., 0].cpu().numpy()
    first = np.arange(count)[:, None, None] * len(mesh.faces)
    return Fragments(
        np.where(packed < 0, -1, packed - first).astype(np.int32),
        found.bary_coords[..., 0, :].cpu().numpy(),
        found.zbuf[..., 0].cpu().numpy(),
    )

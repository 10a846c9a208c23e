"""Networks: timm backbones cut into named blocks, and the heads on top of them."""

"""GOT-OCR 2: reads the text of a page. The question stands where its processor has "OCR:"."""

from __future__ import annotations

from harness.families.family import ModelFamily, encode_flat

FAMILY = ModelFamily(
    name="got_ocr2",
    title="GOT-OCR 2",
    turn=lambda images, text: (
        "<|im_start|>system\nYou should follow the instructions carefully and explain your answers "
        f"in detail.<|im_end|><|im_start|>user\n<img>{'<imgpad>' * images}</img>\n{text}<|im_end|>"
        "<|im_start|>assistant\n"
    ),
    max_images=1,
    needs_image=True,
    encode=encode_flat,
    untrainable="it transcribes pages, and is asked nothing",
)

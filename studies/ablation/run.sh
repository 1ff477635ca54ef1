# The study of docs/ablation.md: 23 ablations, ten seeds, both protocols.
exec antifragile ablate run outputs/ablation/transformer --name transformer \
  --dataset digits --epochs 12 --learning-rate 0.004 --seeds 10 --protocol both --margin 1 \
  --only 'attention-forward-*' --only attention-proj--identity --only 'block-*' \
  --only mlp-act--identity --only 'rowtransformer-[bdnps]*' --only 'rowtransformer-forward-*' \
  --workers "${WORKERS:-2}"
